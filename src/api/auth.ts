import * as z from 'zod'
import { Timestamp } from './fields.ts'
import { ROLES } from './roles.ts'

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
