import * as z from 'zod'
import { ALL_KINDS } from '../domain/records.ts'
import { RUN_STATUSES } from '../domain/state.ts'
import { flagInQuery, kindsInQuery, MAX_SEQ, RunId, wholeInQuery } from './fields.ts'

/** The place of a record in its run, in a query. */
export const Seq = z
  .string()
  .regex(/^\d{1,10}$/, `must be the seq of a record: a whole number from 0 to ${MAX_SEQ}`)
  .transform(Number)

export const Seconds = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,9})?$/, 'must be seconds since the epoch, such as 1771416000.25')
  .transform(Number)

/** The seq after which the wanted records begin; -1 is before the first record. */
export const After = z
  .string()
  .regex(
    /^(-1|\d{1,10})$/,
    `must be the seq of the last frame you have (${MAX_SEQ} at most), or -1 for none`,
  )
  .transform(Number)

export const PAGE_LIMIT = 500
const MAX_LIMIT = 5000

export const PageLimit = wholeInQuery(1, MAX_LIMIT)
  .optional()
  .describe(`The most frames to return. A JSON page has at most ${PAGE_LIMIT} without it`)

const CaughtUp = flagInQuery().describe(
  '"true": after all stored records, one frame of kind `caught_up` follows. It is not a record',
)

const WithMeta = flagInQuery().describe(
  '"true": each frame also holds `id`, the id of its event, and `meta`, the metadata of the record ' +
    'as it is stored: who caused it, and the hashes and salts that verify it (docs/verification.md)',
)

const WithParts = flagInQuery().describe(
  '"true": parts of replies and of the output of commands come while they are written, in frames of the kinds ' +
    '`part` and `parts_end`. They are not records. Only for WebSockets and server-sent events',
)

const forms = { meta: WithMeta.optional(), live: WithParts.optional() }

/** What observers get of a record: it and its seq, or the id of its event and its metadata as well. */
export type Form = 'record' | 'with_meta'

/** The form of the frames that a query asks for. */
export const formIn = ({ meta }: { readonly meta?: boolean | undefined }): Form =>
  meta === true ? 'with_meta' : 'record'

const selection = {
  kinds: kindsInQuery(ALL_KINDS)
    .optional()
    .meta({
      description: `"all", or kinds separated by commas, of ${ALL_KINDS.join(', ')}. Without it: the ten documented kinds.`,
      examples: ['all', 'goal_check,run_end'],
    }),
  from_ts: Seconds.optional().describe('Only records with a `ts` from this on'),
  to_ts: Seconds.optional().describe('Only records with a `ts` before this'),
}

/** The query of GET /api/runs/{run_id}/events. */
export const RunEventsQuery = z.strictObject({
  after: After.optional().describe(
    'Only records after this seq; with direction=backward, only records before it',
  ),
  limit: PageLimit,
  direction: z.enum(['forward', 'backward']).default('forward'),
  ...forms,
  ...selection,
})

/** The query of WS /api/ws/{run_id}. */
export const WatchRunQuery = z.strictObject({
  after: After.optional().describe(
    'seq of the last frame that the client has; the frames after it follow. -1: all.',
  ),
  kinds: selection.kinds,
  caught_up: CaughtUp.optional(),
  ...forms,
})

const AllRunsCursor = z.string().meta({
  description:
    'The `cursor` of a frame: only records that come after it in the log. "end": only records that are ' +
    'added from now on. Without it: all.',
  examples: ['VQ6EAOKbQdSnFkRmVUQAAN7xq8kQ2dE1.41', 'end'],
})

const allRunsFilters = {
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
    .meta({ description: 'Only these runs, separated by commas' }),
  goal: z.string().optional().describe('Only runs with this goal'),
  status: z
    .enum(RUN_STATUSES)
    .optional()
    .describe(
      'Only records that gave their run this status, or that came while it had this status',
    ),
}

/** The query of GET /api/events. */
export const AllEventsQuery = z.strictObject({
  after: AllRunsCursor.optional(),
  limit: PageLimit,
  ...forms,
  ...allRunsFilters,
})

/** The query of WS /api/ws. */
export const WatchAllQuery = AllEventsQuery.omit({ limit: true }).extend({
  caught_up: CaughtUp.optional(),
})
