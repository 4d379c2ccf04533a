import canonicalize from 'canonicalize'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Idempotency } from '../domain/records.ts'
import { sha256 } from '../lib/sha256.ts'
import { uuidOfHash } from '../log/chain.ts'

/** The header in which a client names its request, so that it can safely send it again. */
export const IDEMPOTENCY_KEY = 'idempotency-key'
const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'must have 1 to 255 printable ASCII characters without blanks')

/** A run that can be created once only: its id is made of the key, so its stream is the lock. */
export type NamedRequest = { readonly runId: string; readonly idempotency: Idempotency }

/**
 * What a request with an idempotency key stands for; null without one. Nothing is remembered besides
 * the log, so it holds across restarts and for all servers on one store.
 */
export function namedRequest(
  header: string | string[] | undefined,
  body: unknown,
): Result<NamedRequest | null, string> {
  if (header === undefined) return ok(null)
  const key = IdempotencyKey.safeParse(header)
  if (!key.success) return err(`The header Idempotency-Key ${key.error.issues[0]?.message}.`)
  return ok({
    runId: uuidOfHash(sha256(`retrai run\n${key.data}`)),
    idempotency: { key: key.data, request_sha256: sha256(canonicalize(body) ?? '') },
  })
}
