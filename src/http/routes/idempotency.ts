import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Idempotency } from '../../domain/records.ts'
import { sha256 } from '../../lib/sha256.ts'
import { canonicalText } from '../../log/commitment.ts'

/** The header in which a client names its request, so that it can safely send it again. */
export const IDEMPOTENCY_KEY = 'idempotency-key'
const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'must have 1 to 255 printable ASCII characters without blanks')

/** What the log keeps of a named request; null without a key. Only the log remembers keys, so they hold across restarts. */
export function idempotencyOf(
  header: string | string[] | undefined,
  body: unknown,
): Result<Idempotency | null, string> {
  if (header === undefined) return ok(null)
  const key = IdempotencyKey.safeParse(header)
  if (!key.success) return err(`The header Idempotency-Key ${key.error.issues[0]?.message}.`)
  const request_sha256 = sha256(body === undefined ? '' : canonicalText(body))
  return ok({ key: key.data, request_sha256 })
}
