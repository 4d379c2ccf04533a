import * as z from 'zod'
import { Sha256 } from '../domain/fields.ts'
import { OWN_STREAM_PREFIX } from '../domain/records.ts'
import type { Logged } from '../log/codec.ts'
import type { StreamDefinition } from '../log/decider.ts'

/** Strings of a record are redacted. It is appended before that happens: no string disappears without an entry. */
export const Redaction = z.strictObject({
  kind: z.literal('redacted'),
  ts: z.number().nonnegative(),
  payload: z.strictObject({
    run_id: z.uuid(),
    seq: z.int().nonnegative(),
    /** The commitments to the strings, by their pointers from the payload of the record. */
    redacted: z.record(z.string().startsWith('/'), Sha256),
    /** SHA-256 of the whole output, which is removed together with its head and tail. */
    artifact: Sha256.exactOptional(),
    reason: z.string(),
    /** The entry of another log, if the run was imported from that log and redacted there. */
    origin: z
      .strictObject({
        hash: Sha256,
        ts: z.number().nonnegative(),
        principal: z.string().exactOptional(),
      })
      .exactOptional(),
  }),
})
export type Redaction = z.infer<typeof Redaction>
export type LoggedRedaction = Logged<Redaction>

/** All redactions of a log, the last one first. A list, so that adding one copies nothing. */
export type RedactionChain = {
  readonly last: LoggedRedaction
  readonly before: RedactionChain
} | null

/** The redactions of all runs of a log. */
export const REDACTIONS: StreamDefinition<Redaction, RedactionChain> = {
  stream: `${OWN_STREAM_PREFIX}redactions`,
  schema: Redaction,
  initial: null,
  evolve: (before, last) => ({ last, before }),
}

/** Oldest first. */
export function redactionsOf(redactions: RedactionChain): LoggedRedaction[] {
  const found: LoggedRedaction[] = []
  for (let rest = redactions; rest !== null; rest = rest.before) found.push(rest.last)
  return found.reverse()
}
