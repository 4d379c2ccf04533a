import * as z from 'zod'
import { ROLES } from './roles.ts'

const Timestamp = z.iso.datetime({ precision: 3 })

/** A token as GET /api/tokens tells of it. */
export const TokenView = z.object({
  id: z.uuid(),
  name: z.string().describe('The principal in the records of what was done with it'),
  role: z.enum(ROLES),
  status: z.enum(['active', 'expired', 'revoked']),
  created_at: Timestamp,
  created_by: z.string().nullable(),
  expires_at: Timestamp.nullable().describe('Null: never'),
  revoked_at: Timestamp.nullable(),
  revoked_by: z.string().nullable(),
  revoked_reason: z.string().nullable(),
})
export type TokenView = z.infer<typeof TokenView>

/** The answer to POST /api/tokens. */
export const NewTokenView = TokenView.extend({
  secret: z.string().describe('Send it as "Authorization: Bearer …". It is told here only'),
})
export type NewTokenView = z.infer<typeof NewTokenView>

/** GET /api/me. */
export const Me = z.object({
  principal: z.string().describe('As the log has it: "local" where no token is needed'),
  role: z.enum(ROLES),
  may: z.array(z.string()).describe('The permissions of the role'),
})
export type Me = z.infer<typeof Me>

/** The answer to POST /api/tickets. */
export const TicketView = z.object({ ticket: z.string(), expires_at: Timestamp })
export type TicketView = z.infer<typeof TicketView>
