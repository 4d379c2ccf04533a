import * as z from 'zod'
import { ROLES } from './roles.ts'

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

const DAY_S = 86_400
const MAX_SECONDS = 3650 * DAY_S

/** The body of POST /api/tokens. */
export const CreateToken = z
  .strictObject({
    name: TokenName.describe(
      `The principal in the records that the token causes. Each name is used only once; ${RESERVED_NAMES.join(' and ')} are reserved`,
    ),
    role: z.enum(ROLES),
    expires_in: z
      .int()
      .min(1)
      .max(MAX_SECONDS)
      .nullable()
      .default(null)
      .describe('Seconds from now; null: the token does not expire'),
  })
  .meta({
    id: 'CreateToken',
    examples: [{ name: 'ci', role: 'operator', expires_in: 30 * DAY_S }],
  })
export type CreateToken = z.input<typeof CreateToken>

export const TokenParams = z.object({ id: z.string() })

/** The query of DELETE /api/tokens/{id}. */
export const RevokeTokenQuery = z.strictObject({
  reason: z.string().max(1000).optional().describe('Kept in the log'),
})
