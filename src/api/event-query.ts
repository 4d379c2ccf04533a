import * as z from 'zod'
import { DOCUMENTED_KINDS, type Kind } from '../domain/records.ts'
import { RUN_STATUSES } from '../domain/state.ts'
import { Kinds } from './kinds.ts'
import { RunId } from './run-id.ts'

/** No stream has a record with a larger seq, nor ever will. */
export const MAX_SEQ = 9_999_999_999

/** The place of a record in its run. */
export const Seq = z
  .string()
  .regex(/^\d{1,10}$/, `must be the seq of a record: a whole number from 0 to ${MAX_SEQ}`)
  .transform(Number)

/** The same in a body. */
export const SeqInBody = z.int().nonnegative().max(MAX_SEQ)

export const Seconds = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,9})?$/, 'must be seconds since the epoch, such as 1771416000.25')
  .transform(Number)

/** The seq behind which to go on; -1 is in front of the first record. */
export const After = z
  .string()
  .regex(
    /^(-1|\d{1,10})$/,
    `must be the seq of the last frame you have (${MAX_SEQ} at most), or -1 for none`,
  )
  .transform(Number)

/** Whether a frame between history and live is wanted. */
export const CaughtUp = z
  .enum(['true', 'false'])
  .transform((text) => text === 'true')
  .meta({
    description:
      '"true": one frame of kind `caught_up` once all that is stored has been sent; it is no record',
    examples: ['true'],
  })

/** Whether frames are to hold what is kept beside the record. */
export const WithMeta = z
  .enum(['true', 'false'])
  .transform((text) => text === 'true')
  .meta({
    description:
      '"true": each frame also holds `id`, the id of its event, and `meta`, the metadata of the record ' +
      'as it is stored: who caused it, and the hashes and salts that verify it (docs/verification.md)',
    examples: ['true'],
  })

/** What observers get of a record: it and its seq, or the id of its event and its metadata as well. */
export type Form = 'record' | 'with_meta'

/** The form of the frames that a query asks for. */
export const formIn = ({ meta }: { readonly meta?: boolean | undefined }): Form =>
  meta === true ? 'with_meta' : 'record'

export const PAGE_LIMIT = 500
const MAX_LIMIT = 5000

const selection = {
  kinds: Kinds.optional(),
  from_ts: Seconds.optional().meta({
    description: 'Only records with a `ts` from this on',
    examples: ['1771416000'],
  }),
  to_ts: Seconds.optional().meta({
    description: 'Only records with a `ts` before this',
    examples: ['1771419600.5'],
  }),
}

export const pageLimit = z.coerce
  .number()
  .int()
  .min(1)
  .max(MAX_LIMIT)
  .optional()
  .describe(`How many frames at most. A JSON page has ${PAGE_LIMIT} unless told otherwise`)

/** The query of GET /api/runs/{run_id}/events. */
export const RunEventsQuery = z.strictObject({
  after: After.optional().meta({
    description:
      'Only records behind this seq: with larger ones forward, with smaller ones backward',
    examples: ['41'],
  }),
  limit: pageLimit,
  direction: z.enum(['forward', 'backward']).default('forward'),
  meta: WithMeta.optional(),
  ...selection,
})

/** What can be asked of the feed of all runs. */
export const feedFilters = {
  ...selection,
  run_id: z
    .union([z.string(), z.array(z.string())])
    .transform((text, context): ReadonlySet<string> => {
      const ids = [text].flat().flatMap((part) => part.split(','))
      const parsed = ids.map((id) => RunId.safeParse(id))
      if (!parsed.every((id) => id.success)) context.addIssue('must be run ids (UUIDs)')
      return new Set(parsed.flatMap((id) => id.data ?? []))
    })
    .optional()
    .meta({ description: 'Only these runs; more than one are separated by commas' }),
  goal: z.string().optional().describe('Only runs with this goal'),
  status: z
    .enum(RUN_STATUSES)
    .optional()
    .describe('Only records with which, or during which, their run had this status'),
}

export const FeedCursor = z.string().meta({
  description:
    'The `cursor` of a frame: only records that stand behind it in the log. "end": only what is ' +
    'added from now on. Without it: all.',
  examples: ['VQ6EAOKbQdSnFkRmVUQAAN7xq8kQ2dE1.41', 'end'],
})

/** The query of GET /api/events. */
export const FeedQuery = z.strictObject({
  after: FeedCursor.optional(),
  limit: pageLimit,
  meta: WithMeta.optional(),
  ...feedFilters,
})

/** Which records of a run are wanted. */
export type Selection = {
  readonly kinds: ReadonlySet<Kind>
  /** Seconds since the epoch: the first inclusive, the second not. */
  readonly fromTs: number
  readonly toTs: number
}

export function selectionOf(query: {
  readonly kinds?: ReadonlySet<Kind> | undefined
  readonly from_ts?: number | undefined
  readonly to_ts?: number | undefined
}): Selection {
  return {
    kinds: query.kinds ?? new Set(DOCUMENTED_KINDS),
    fromTs: query.from_ts ?? 0,
    toTs: query.to_ts ?? Number.POSITIVE_INFINITY,
  }
}
