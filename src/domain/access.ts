import * as z from 'zod'

/** What a caller was shown of the log, at any address that shows it. */
const GRANTED = [
  'runs_listed',
  /** What was found in many runs, or in one. */
  'searched',
  /** State, history, differences, conversation or an artifact of one run. */
  'run_read',
  'run_watched',
  'run_exported',
  /** A proof of one run. */
  'run_verified',
  /** Records of many runs. */
  'feed_read',
  'feed_watched',
  'checkpoints_read',
  /** This log itself, or another ledger. */
  'ledger_read',
] as const
export type GrantedKind = (typeof GRANTED)[number]

/** All kinds of entries in the access log. */
export const ACCESS_KINDS = [...GRANTED, 'watch_ended', 'access_refused', 'entries_lost'] as const
export type AccessKind = (typeof ACCESS_KINDS)[number]

const count = z.int().positive()
/** Seconds since the epoch. */
const ts = z.number().nonnegative()
const times = { count, first_ts: ts, last_ts: ts }

/** Equal accesses within a minute are one entry with their count and the times of first and last. */
const access = {
  ...times,
  /** Null if the access was to no run, or to several. */
  run_id: z.uuid().nullable(),
  /** The authenticated caller; null if the request was not authenticated. */
  principal: z.string().nullable(),
  /** Address of the peer; null if the entry counts several peers. A peer that came through a unix socket has none. */
  client: z.string().nullable().exactOptional(),
  /** operationId of the address in the description of the API. */
  operation: z.string(),
  /** The query of the request; of the last one if the entry counts several. */
  asked: z.string(),
  /** If the queries differ: each of them with its count. Only entries of earlier versions have this. */
  queries: z.array(z.strictObject({ asked: z.string(), count })).exactOptional(),
  /** How many accesses had a query that is not listed, because the list would be too long. */
  unlisted: count.exactOptional(),
}

const variant = <K extends AccessKind, S extends z.ZodRawShape>(kinds: readonly K[], payload: S) =>
  z.strictObject({ kind: z.enum(kinds), ts, payload: z.strictObject(payload) })

/** An entry of the access log: who was shown what. `ts` is the time at which it was recorded. */
export const AccessEntry = z.discriminatedUnion('kind', [
  variant(GRANTED, access),
  variant(['watch_ended'], {
    ...access,
    /** seq of the last record that was sent, or its cursor in the feed of all runs; null if none was sent. */
    last: z.union([z.int(), z.string()]).nullable(),
    /** How long it was watched; the sum if the entry counts several. */
    seconds: z.number().nonnegative(),
  }),
  variant(['access_refused'], { ...access, status: z.int() }),
  /** More entries came than could be kept until the store accepted them. */
  variant(['entries_lost'], times),
])
export type AccessEntry = z.infer<typeof AccessEntry>
