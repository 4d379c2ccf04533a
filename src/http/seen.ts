import * as z from 'zod'
import { SeqInBody } from '../api/event-query.ts'
import { Seen } from '../domain/records.ts'

/** `seen` in the body of what a person decides. */
export const GivenSeen = z
  .strictObject({ ...Seen.unwrap().shape, seq: SeqInBody })
  .nullable()
  .default(null)
  .describe(
    'The last record of the run that the person was shown: its seq and hash. The hash commits to all ' +
      'before it. It is refused where the log has another record there, and kept beside what was decided',
  )

export const SEEN_EXAMPLE = {
  seq: 14,
  hash: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
} as const
