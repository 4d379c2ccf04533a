import * as z from 'zod'
import { ALL_KINDS, type Kind, PAYLOADS } from '../domain/records.ts'

const EXAMPLE = {
  kind: 'goal_check',
  run_id: '550e8400-e29b-41d4-a716-446655440000',
  iteration: 3,
  ts: 1771416193.25,
  payload: {
    achieved: true,
    reason: 'All 42 tests passed',
    details: '42 passed in 1.21s',
    duration_ms: 1874,
  },
  seq: 29,
}

/** What is kept beside a record, as it is stored; docs/verification.md describes it. */
const EventMeta = z.looseObject({
  schema: z.int(),
  command_id: z.string().describe('Unique to the command that wrote the record'),
  principal: z.string().optional().describe('Who caused it, where a person did'),
  salt: z.string().optional().describe('Of the commitments to the strings of the payload'),
  prev_hash: z.string().describe('`hash` of the record before; 64 zeros for the first'),
  hash: z.string().describe('SHA-256 that commits to this record and all before it'),
})

/** The name of a schema about a kind of record in the descriptions of the API, such as `ToolCallEvent`. */
const nameOf = (kind: Kind, what: 'Payload' | 'Event' | 'FeedEvent'): string => {
  const words = kind.split('_').map((word) => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`)
  return `${words.join('')}${what}`
}

for (const kind of ALL_KINDS) {
  z.globalRegistry.add(PAYLOADS[kind], { id: nameOf(kind, 'Payload') })
}

/** @throws TypeError if there are no kinds */
function ofEachKind<T>(make: (kind: Kind) => T): [T, ...T[]] {
  const [first, ...others] = ALL_KINDS.map(make)
  if (first === undefined) throw new TypeError('there are no kinds of records')
  return [first, ...others]
}

const frameOf = <K extends Kind>(kind: K) =>
  z.object({
    kind: z.literal(kind),
    run_id: z.uuid(),
    iteration: z.int().describe('From 1; 0 for what happens before the first'),
    ts: z.number().describe('Seconds since the epoch'),
    payload: PAYLOADS[kind],
    seq: z.int().describe('Place of the record in its run: 0, 1, 2 … without gaps'),
    id: z.uuid().optional().describe('The id of its event. Only with `meta=true`'),
    meta: EventMeta.optional().describe('What is kept beside it. Only with `meta=true`'),
  })

const cursor = z.string().describe('Place in the feed of all runs: `after` for what comes after it')

/** What generators of clients need to know that `kind` names the variant. */
const discriminatorOf = (what: 'Event' | 'FeedEvent') => ({
  discriminator: {
    propertyName: 'kind',
    mapping: Object.fromEntries(
      ALL_KINDS.map((kind) => [kind, `#/components/schemas/${nameOf(kind, what)}`]),
    ),
  },
})

const EVENTS = ofEachKind((kind) => frameOf(kind).meta({ id: nameOf(kind, 'Event') }))
const FEED_EVENTS = ofEachKind((kind) =>
  frameOf(kind)
    .extend({ cursor })
    .meta({ id: nameOf(kind, 'FeedEvent') }),
)

/** A record as observers of its run get it: `kind` names the shape of `payload`. */
const EventFrame = z
  .discriminatedUnion('kind', EVENTS)
  .meta({ id: 'EventFrame', ...discriminatorOf('Event'), examples: [EXAMPLE] })

/** A record as observers of all runs get it. */
const FeedFrame = z.discriminatedUnion('kind', FEED_EVENTS).meta({
  id: 'FeedFrame',
  ...discriminatorOf('FeedEvent'),
  examples: [{ ...EXAMPLE, cursor: 'VQ6EAOKbQdSnFkRmVUQAAN7xq8kQ2dE1.29' }],
})

/** Sent once, on request, when all that is stored has been sent. It is no record. */
const RunCaughtUp = z
  .object({
    kind: z.literal('caught_up'),
    run_id: z.uuid(),
    seq: z.int().describe('Of the last record up to which the run has been sent'),
  })
  .meta({ id: 'RunCaughtUp' })

const FeedCaughtUp = z
  .object({
    kind: z.literal('caught_up'),
    cursor: z
      .string()
      .nullable()
      .describe('Of the last record of the log that was looked at, or null if there is none'),
  })
  .meta({ id: 'FeedCaughtUp' })

/** The last frame before the server closes a socket that it cannot serve. It is no record. */
const Refusal = z
  .object({
    kind: z.literal('error'),
    run_id: z.string().describe('As the address names the run; empty for all runs'),
    iteration: z.literal(0),
    ts: z.number().describe('Seconds since the epoch'),
    payload: PAYLOADS.error,
    seq: z.int().min(-1).describe('How far the client had come: `?after=` takes it'),
  })
  .meta({ id: 'Refusal' })

/** The text frames of the sockets, by the operation that opens one. */
export const SOCKET_FRAMES = {
  watchRun: [...EVENTS, RunCaughtUp, Refusal],
  watchAll: [...FEED_EVENTS, FeedCaughtUp, Refusal],
} as const

/** Why the server closes a socket. Codes from 4000 on are the application's own. */
export const CLOSE_CODES = {
  1000: 'The run has ended',
  1001: 'The server stops. Connect again later',
  1011: 'A record cannot be read, or the server failed',
  1013: 'The client makes no progress, or the access log cannot be written. Connect again later',
  4400: 'The query is not valid',
  4401: 'The token was revoked or has expired',
  4404: 'There is no such run',
} as const

const responseOf = (frame: typeof EventFrame | typeof FeedFrame) => ({
  description:
    'One page of frames, or a stream of them, by the Accept header. Where a page is not the last, ' +
    'its Link header holds the address of the next: `<…>; rel="next"`',
  content: {
    'application/json': {
      schema: z.array(frame).meta({ examples: [frame.meta()?.examples ?? []] }),
    },
    'application/x-ndjson': { schema: frame },
    'text/event-stream': { schema: z.string() },
  },
})

export const RUN_EVENTS = responseOf(EventFrame)
export const ALL_EVENTS = responseOf(FeedFrame)
