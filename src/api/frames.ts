import * as z from 'zod'
import { ALL_KINDS, type Kind, PAYLOADS } from '../domain/records.ts'
import { PartFrame, PartsEnd } from './live-parts.ts'

/** What is kept beside a record, as it is stored; docs/verification.md describes it. */
export const EventMeta = z.looseObject({
  schema: z.int(),
  command_id: z.string().describe('Unique to the command that wrote the record'),
  principal: z.string().optional().describe('Who caused it, if a person did'),
  salt: z.string().optional().describe('Of the commitments to the strings of the payload'),
  prev_hash: z.string().describe('`hash` of the previous record; 64 zeros for the first'),
  hash: z.string().describe('SHA-256 that commits to this record and all before it'),
})
export type EventMeta = Readonly<z.infer<typeof EventMeta>>

/** Sent once, on request, after all stored records. It is not a record. */
const RunCaughtUp = z
  .object({
    kind: z.literal('caught_up'),
    run_id: z.uuid(),
    seq: z.int().describe('Of the last record up to which the run has been sent'),
  })
  .meta({ id: 'RunCaughtUp' })

/** The same for all runs. */
export const FeedCaughtUp = z
  .object({
    kind: z.literal('caught_up'),
    cursor: z
      .string()
      .nullable()
      .describe('Of the last record of the log that was looked at, or null if there is none'),
  })
  .meta({ id: 'FeedCaughtUp' })

/** The last frame before the server closes a socket that it cannot serve. It is not a record. */
export const Refusal = z
  .object({
    kind: z.literal('error'),
    run_id: z.string().describe('As the address names the run; empty for all runs'),
    iteration: z.literal(0),
    ts: z.number().describe('Seconds since the epoch'),
    payload: PAYLOADS.error,
    seq: z.int().min(-1).describe('The last record that the client has, for `?after=`'),
  })
  .meta({ id: 'Refusal' })

/** With `live=true`: what is under way, and its end. */
const LIVE = [...PartFrame.options, PartsEnd] as const

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

const FEED_EXAMPLE = { ...EXAMPLE, cursor: 'VQ6EAOKbQdSnFkRmVUQAAN7xq8kQ2dE1.29' }

type What = 'Payload' | 'Event' | 'FeedEvent'

/** The name of a schema about a kind of record in the descriptions of the API, such as `ToolCallEvent`. */
const nameOf = (kind: Kind, what: What): string => {
  const words = kind.split('_').map((word) => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`)
  return `${words.join('')}${what}`
}

/** @throws TypeError if there are no kinds */
function ofEachKind<T>(make: (kind: Kind) => T): [T, ...T[]] {
  const [first, ...others] = ALL_KINDS.map(make)
  if (first === undefined) throw new TypeError('there are no kinds of records')
  return [first, ...others]
}

/** What generators of clients need to know that `kind` names the variant. */
const discriminatorOf = (what: 'Event' | 'FeedEvent') => ({
  discriminator: {
    propertyName: 'kind',
    mapping: Object.fromEntries(
      ALL_KINDS.map((kind) => [kind, `#/components/schemas/${nameOf(kind, what)}`]),
    ),
  },
})

let built: ReturnType<typeof buildFrames> | undefined

/** The schemas of all frames. Only the descriptions of the API need them, so a server builds them on demand. */
export const frameSchemas = () => {
  built ??= buildFrames()
  return built
}

function buildFrames() {
  for (const kind of ALL_KINDS) {
    z.globalRegistry.add(PAYLOADS[kind], { id: nameOf(kind, 'Payload') })
  }
  const common = {
    run_id: z.uuid(),
    iteration: z.int().describe('From 1; 0 for what happens before the first'),
    ts: z.number().describe('Seconds since the epoch'),
  }
  const place = {
    seq: z.int().describe('Place of the record in its run: 0, 1, 2 … without gaps'),
    id: z.uuid().optional().describe('The id of its event. Only with `meta=true`'),
    meta: EventMeta.optional().describe('What is kept beside it. Only with `meta=true`'),
  }
  const cursor = z
    .string()
    .describe(
      'Place among the records of all runs. As `after`, it selects the records that come after this one',
    )
  const frameOf = (kind: Kind, what: 'Event' | 'FeedEvent') =>
    z
      .object({
        kind: z.literal(kind),
        ...common,
        payload: PAYLOADS[kind],
        ...place,
        ...(what === 'FeedEvent' ? { cursor } : {}),
      })
      .meta({ id: nameOf(kind, what) })
  const events = ofEachKind((kind) => frameOf(kind, 'Event'))
  const feedEvents = ofEachKind((kind) => frameOf(kind, 'FeedEvent'))

  /** A record as observers of its run get it: `kind` names the shape of `payload`. */
  const eventFrame = z
    .discriminatedUnion('kind', events)
    .meta({ id: 'EventFrame', ...discriminatorOf('Event'), examples: [EXAMPLE] })

  /** A record as observers of all runs get it. */
  const feedFrame = z.discriminatedUnion('kind', feedEvents).meta({
    id: 'FeedFrame',
    ...discriminatorOf('FeedEvent'),
    examples: [FEED_EXAMPLE],
  })

  return {
    eventFrame,
    feedFrame,
    /** The text frames of the sockets, by the operation that opens one. */
    sockets: {
      watchRun: [...events, RunCaughtUp, Refusal, ...LIVE],
      watchAll: [...feedEvents, FeedCaughtUp, Refusal, ...LIVE],
    },
  } as const
}

/** The schema comes from a function, because it is built on demand. */
const responseOf = (schema: () => z.ZodType, example: object) => ({
  description:
    'One page of frames, or a stream of them, by the Accept header. If a page is not the last, ' +
    'its Link header holds the address of the next: `<…>; rel="next"`',
  content: {
    'application/json': { schema: z.array(z.lazy(schema)).meta({ examples: [[example]] }) },
    'application/x-ndjson': { schema: z.lazy(schema) },
    'text/event-stream': { schema: z.string() },
  },
})

/** The responses of GET /api/runs/{run_id}/events and GET /api/events. */
export const runEventsResponse = () => responseOf(() => frameSchemas().eventFrame, EXAMPLE)
export const allEventsResponse = () => responseOf(() => frameSchemas().feedFrame, FEED_EXAMPLE)
