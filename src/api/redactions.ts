import * as z from 'zod'
import { SeqInBody } from './fields.ts'

/** The body of POST /api/runs/{run_id}/redact. */
export const RedactRun = z
  .strictObject({
    seq: SeqInBody.describe('The record'),
    pointer: z
      .string()
      .regex(/^(\/|$)/, 'must be a JSON pointer, such as /output')
      .describe(
        'RFC 6901, from the payload of the record. It names a text, or an object or array: then all texts in it are ' +
          'redacted. With `/config/accept` of a `run_created`, the check that the agent did not see is removed',
      ),
    reason: z
      .string()
      .trim()
      .min(1)
      .max(2000)
      .describe('Kept in the log for ever. It must not hold the text itself'),
    secret: z
      .string()
      .min(4)
      .nullable()
      .default(null)
      .describe(
        'The secret, if it is only a part of the text: the server looks for it elsewhere in the run. Not kept',
      ),
    preview: z
      .boolean()
      .exactOptional()
      .describe('Only answers what would be redacted. `redaction` is null then'),
  })
  .meta({
    id: 'RedactRun',
    examples: [{ seq: 7, pointer: '/args/command', reason: 'A password of a person' }],
  })
export type RedactRun = z.input<typeof RedactRun>

/** The answer to POST /api/runs/{run_id}/redact. */
export const RedactedRecord = z
  .object({
    run_id: z.uuid(),
    seq: z.int(),
    redaction: z
      .int()
      .nullable()
      .describe('Number of the entry in the ledger of redactions; null in a preview'),
    pointers: z.array(z.string()).readonly().describe('The texts that were redacted'),
    artifact: z
      .string()
      .nullable()
      .describe('SHA-256 of the whole output, which was removed with its text, or of the check'),
    summaries: z
      .array(z.int())
      .readonly()
      .describe('seqs of the summaries after the record, which were redacted with it'),
    objects: z
      .int()
      .describe(
        'How many objects and lists of snapshots, and checks that no agent sees, hold the text. They were removed from all ' +
          'runs that have them, so what has not ended cannot be checked by such a check any more',
      ),
    erased: z
      .boolean()
      .describe(
        'Whether the store erased the texts. False if it cannot (EventStoreDB), or could not yet. In ' +
          'any case the server no longer serves them',
      ),
    elsewhere: z
      .array(
        z.object({
          seq: z.int(),
          pointer: z.string(),
          redactable: z.boolean().describe('False if the log needs the text'),
        }),
      )
      .readonly()
      .describe('Other places of this run that hold one of the texts, or the secret'),
  })
  .meta({ id: 'RedactedRecord' })
export type RedactedRecord = z.infer<typeof RedactedRecord>

/** An item of GET /api/runs/{run_id}/redactions. */
export const Redaction = z
  .object({
    redaction: z.int().describe('Number of the entry in the ledger of redactions'),
    ts: z.number().describe('Seconds since the epoch'),
    principal: z.string().nullable(),
    reason: z.string(),
    seq: z.int().describe('The record'),
    pointers: z.array(z.string()),
    artifact: z.string().nullable(),
  })
  .meta({ id: 'Redaction' })
export type Redaction = z.infer<typeof Redaction>
