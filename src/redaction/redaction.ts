import * as z from 'zod'
import { OWN_STREAM_PREFIX, Sha256 } from '../domain/fields.ts'

/** The stream of the redactions of a log. */
export const REDACTION_STREAM = `${OWN_STREAM_PREFIX}redactions`

/** Strings of a record are redacted. It is appended before that happens: no string disappears without an entry. */
export const Redaction = z.strictObject({
  kind: z.literal('redacted'),
  ts: z.number().nonnegative(),
  payload: z.strictObject({
    run_id: z.uuid(),
    seq: z.int().nonnegative(),
    /** The commitments to the strings, by their pointers from the payload of the record. */
    redacted: z.record(z.string().startsWith('/'), Sha256),
    /** SHA-256 of the whole output, which is removed together with its head and tail, or of a pack of snapshots. */
    artifact: Sha256.exactOptional(),
    /** If the artifact was a pack of snapshots: the objects that are removed, and the pack that holds the others. */
    objects: z.array(Sha256).readonly().exactOptional(),
    replaced_by: Sha256.exactOptional(),
    /** Nothing is removed: the run was imported, and its export held of this pack only `replaced_by`, or nothing. */
    absent: z.literal(true).exactOptional(),
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
