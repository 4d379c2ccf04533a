import * as z from 'zod'

/** What somebody was shown of the log, over any address that shows it. */
const GRANTED = [
  'runs_listed',
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

/** The closed list of what stands in the access log. */
export const ACCESS_KINDS = [...GRANTED, 'watch_ended', 'access_refused', 'entries_lost'] as const
export type AccessKind = (typeof ACCESS_KINDS)[number]

const count = z.int().positive()
/** Seconds since the epoch. */
const ts = z.number().nonnegative()
const times = { count, first_ts: ts, last_ts: ts }

/** Equal accesses within a minute are one entry with their count and the times of first and last. */
const access = {
  ...times,
  /** Null where it was about no run, or about many. */
  run_id: z.uuid().nullable(),
  /** As authenticated; null where nobody was. */
  principal: z.string().nullable(),
  /** Address of the peer; null for many of them together. */
  client: z.string().nullable(),
  /** operationId of the address in the description of the API. */
  operation: z.string(),
  /** What else was asked for, as a query; of the last of them. */
  asked: z.string(),
  /** Where they asked for different things: each of these, and how often. Of entries of earlier versions never. */
  queries: z.array(z.strictObject({ asked: z.string(), count })).exactOptional(),
  /** How many asked for something that is not listed, since there would be too much. */
  unlisted: count.exactOptional(),
}

const variant = <K extends AccessKind, S extends z.ZodRawShape>(kind: K, payload: S) =>
  z.strictObject({ kind: z.literal(kind), ts, payload: z.strictObject(payload) })
const granted = <K extends GrantedKind>(kind: K) => variant(kind, access)

/** Who was shown what: an entry of the access log. `ts` is when it was written down. */
export const AccessEntry = z.discriminatedUnion('kind', [
  granted('runs_listed'),
  granted('run_read'),
  granted('run_watched'),
  granted('run_exported'),
  granted('run_verified'),
  granted('feed_read'),
  granted('feed_watched'),
  granted('checkpoints_read'),
  granted('ledger_read'),
  variant('watch_ended', {
    ...access,
    /** seq of the last record that was sent, in the feed its cursor; null for none. */
    last: z.union([z.int(), z.string()]).nullable(),
    /** How long it was watched, of all of them together. */
    seconds: z.number().nonnegative(),
  }),
  variant('access_refused', { ...access, status: z.int() }),
  /** More came than could be kept until the store took it. */
  variant('entries_lost', times),
])
export type AccessEntry = z.infer<typeof AccessEntry>
