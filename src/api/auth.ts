import * as z from 'zod'
import { Timestamp } from '../domain/fields.ts'

/** The roles of callers. Pure, and for browsers too. */
export const ROLES = ['viewer', 'operator', 'auditor', 'admin'] as const
export type Role = (typeof ROLES)[number]

type Rule = { readonly roles: readonly Role[]; readonly what: string }

const OPERATORS = ['operator', 'admin'] as const
const AUDITORS = ['auditor', 'admin'] as const
const ADMINS = ['admin'] as const

/** Which roles have which permission. docs/operations.md has the same table, and a test compares the two. */
export const RULES = {
  'self:read': { roles: ROLES, what: "read one's own name and role, get a ticket for a WebSocket" },
  'runs:read': {
    roles: ROLES,
    what: 'read and watch runs, their history and artifacts; goals and models',
  },
  'runs:verify': { roles: ROLES, what: 'read the proof of a run, and the public keys' },
  'runs:create': {
    roles: OPERATORS,
    what: 'start a run; roll back, apply or discard what it did to files',
  },
  'runs:decide': {
    roles: OPERATORS,
    what: 'answer a human check, allow or deny a call that waits',
  },
  'runs:message': { roles: OPERATORS, what: 'send a message to the agent of a run' },
  'runs:abort': { roles: OPERATORS, what: 'abort a run' },
  'runs:configure': { roles: OPERATORS, what: 'change the configuration of a run' },
  'runs:export': { roles: AUDITORS, what: 'export a run' },
  'checkpoints:read': { roles: AUDITORS, what: 'read the checkpoints over all runs' },
  'access:read': { roles: AUDITORS, what: 'read the access log and the ledgers' },
  'tokens:read': { roles: AUDITORS, what: 'list the tokens, without their secrets' },
  'tokens:manage': { roles: ADMINS, what: 'create and revoke tokens' },
  'runs:retain': { roles: ADMINS, what: 'put runs on hold; archive and remove them by rules' },
  'webhooks:manage': { roles: ADMINS, what: 'create, test, resume, delete and list webhooks' },
  'runs:redact': { roles: ADMINS, what: 'redact a secret or personal data of a run' },
} as const satisfies Record<string, Rule>

export type Permission = keyof typeof RULES

const isPermission = (name: string): name is Permission => Object.hasOwn(RULES, name)
/** All permissions. A function, so that a bundle of the client can leave the table out. */
export const permissions = (): readonly Permission[] => Object.keys(RULES).filter(isPermission)

export const rolesThatMay = (permission: Permission): readonly Role[] => RULES[permission].roles

export const roleMay = (role: Role, permission: Permission): boolean =>
  rolesThatMay(permission).includes(role)

/** The principal of requests to a server that needs no token, and of commands on the store itself. */
export const LOCAL = 'local'
/** The principal of the token that a server is configured with. */
export const CONFIGURED = 'token'
/** Names that no token gets. */
export const RESERVED_NAMES: readonly string[] = [LOCAL, CONFIGURED]

/** Records name the token that caused them, so each name is used once and never again. */
export const TokenName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, {
  error: 'must be of a-z, 0-9, ".", "_" and "-", begin with a letter or digit, and have at most 64',
})

const Role = z.enum(ROLES).meta({ id: 'Role' })

/** An item of GET /api/tokens. */
export const TokenView = z
  .object({
    id: z.uuid(),
    name: z.string().describe('The principal in the records that the token caused'),
    role: Role,
    status: z.enum(['active', 'expired', 'revoked']),
    created_at: Timestamp,
    created_by: z.string().nullable(),
    expires_at: Timestamp.nullable().describe('Null: never'),
    revoked_at: Timestamp.nullable(),
    revoked_by: z.string().nullable(),
    revoked_reason: z.string().nullable(),
  })
  .meta({ id: 'TokenView' })
export type TokenView = z.infer<typeof TokenView>

/** The answer to POST /api/tokens. */
export const NewTokenView = TokenView.extend({
  secret: z.string().describe('Send it as "Authorization: Bearer …". No other response has it'),
}).meta({ id: 'NewTokenView' })
export type NewTokenView = z.infer<typeof NewTokenView>

/** GET /api/me. */
export const Me = z
  .object({
    principal: z.string().describe('As in the log: "local" if the server needs no token'),
    role: Role,
    may: z.array(z.string()).describe('The permissions of the role'),
  })
  .meta({ id: 'Me' })
export type Me = z.infer<typeof Me>

/** The answer to POST /api/tickets. */
export const TicketView = z
  .object({ ticket: z.string(), expires_at: Timestamp })
  .meta({ id: 'TicketView' })
export type TicketView = z.infer<typeof TicketView>
