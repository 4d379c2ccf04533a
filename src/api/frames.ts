import * as z from 'zod'
import { ALL_KINDS, type Kind, PAYLOADS } from '../domain/records.ts'

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

const attempt = z
  .int()
  .min(0)
  .describe('The seq of the last record before the request, call or check that it belongs to')
const common = { kind: z.literal('part'), run_id: z.uuid(), iteration: z.int(), attempt }
const piece = {
  offset: z.int().min(0).describe('How much of the part comes before `text`, in UTF-16 code units'),
  text: z.string(),
  partial: z.literal(true),
}

/** A piece of a text under way. It is not a record: it is not stored, and its record replaces it. */
export const PartFrame = z
  .discriminatedUnion('of', [
    z.object({ ...common, of: z.literal('text'), ...piece }).meta({ id: 'TextPart' }),
    z.object({ ...common, of: z.literal('reasoning'), ...piece }).meta({ id: 'ReasoningPart' }),
    z
      .object({
        ...common,
        of: z.literal('arguments'),
        call: z.int().min(0).describe('The place of the call in `tool_calls` of its reply'),
        tool: z.string(),
        ...piece,
      })
      .meta({ id: 'ArgumentsPart' }),
    z
      .object({
        ...common,
        of: z.literal('output'),
        call_id: z.string().nullable().describe('Of its call; null for the check of the goal'),
        ...piece,
      })
      .meta({ id: 'OutputPart' }),
  ])
  .meta({ id: 'PartFrame' })
export type PartFrame = Readonly<z.infer<typeof PartFrame>>

/** The parts of an attempt are over: records have replaced them, or they are withdrawn. It is not a record. */
export const PartsEnd = z
  .object({
    kind: z.literal('parts_end'),
    run_id: z.uuid(),
    attempt,
    outcome: z.enum(['recorded', 'withdrawn']),
  })
  .meta({ id: 'PartsEnd' })
export type PartsEnd = Readonly<z.infer<typeof PartsEnd>>

/** Records that may come between an attempt and its outcome. */
export const BETWEEN_PARTS: readonly Kind[] = [
  'llm_usage',
  'user_message',
  'run_config_changed',
  'network_connection',
  'guard_changed',
  'snapshot',
  'left_out_hashed',
]

/** Whether a record of this kind replaces the parts of all attempts of its run with an earlier seq. */
export const replacesParts = (kind: Kind): boolean => !BETWEEN_PARTS.includes(kind)

/** Whether it holds the outcome of an attempt, so that its parts are recorded. */
export const recordsParts = (kind: Kind): boolean =>
  kind === 'assistant_message' || kind === 'tool_result' || kind === 'goal_check'

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
  const unionOf = (what: 'Event' | 'FeedEvent', id: string, example: object) =>
    z
      .discriminatedUnion(
        'kind',
        ofEachKind((kind) => frameOf(kind, what)),
      )
      .meta({ id, examples: [example] })

  return {
    /** A record as observers of its run get it: `kind` names the shape of `payload`. */
    eventFrame: unionOf('Event', 'EventFrame', EXAMPLE),
    /** A record as observers of all runs get it. */
    feedFrame: unionOf('FeedEvent', 'FeedFrame', FEED_EXAMPLE),
  }
}

/** The schema comes from a function, because it is built on demand. */
const responseOf = (schema: () => z.ZodType) => ({
  description:
    'One page of frames, or a stream of them, by the Accept header. If a page is not the last, ' +
    'its Link header holds the address of the next: `<…>; rel="next"`',
  content: {
    'application/json': { schema: z.array(z.lazy(schema)) },
    'application/x-ndjson': { schema: z.lazy(schema) },
    'text/event-stream': { schema: z.string() },
  },
})

/** The responses of GET /api/runs/{run_id}/events and GET /api/events. */
export const runEventsResponse = () => responseOf(() => frameSchemas().eventFrame)
export const allEventsResponse = () => responseOf(() => frameSchemas().feedFrame)

/** Why the server closes a WebSocket. Codes from 4000 on are the application's own. */
export const CLOSE_CODES = {
  run_ended: 1000,
  going_away: 1001,
  internal_error: 1011,
  try_again_later: 1013,
  bad_request: 4400,
  unauthenticated: 4401,
  unknown_run: 4404,
} as const
