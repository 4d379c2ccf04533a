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
  'runs:create': { roles: OPERATORS, what: 'start a run' },
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
  'runs:redact': { roles: ADMINS, what: 'redact a secret or personal data of a run' },
} as const satisfies Record<string, Rule>

export type Permission = keyof typeof RULES

const isPermission = (name: string): name is Permission => Object.hasOwn(RULES, name)
/** All permissions. A function, so that a bundle of the client can leave the table out. */
export const permissions = (): readonly Permission[] => Object.keys(RULES).filter(isPermission)

export const rolesThatMay = (permission: Permission): readonly Role[] => RULES[permission].roles

export const roleMay = (role: Role, permission: Permission): boolean =>
  rolesThatMay(permission).includes(role)
