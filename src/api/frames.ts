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

const nameOf = (kind: Kind, what: string): string => {
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
const discriminatorOf = (what: string) => ({
  discriminator: {
    propertyName: 'kind',
    mapping: Object.fromEntries(
      ALL_KINDS.map((kind) => [kind, `#/components/schemas/${nameOf(kind, what)}`]),
    ),
  },
})

/** A record as observers of its run get it: `kind` names the shape of `payload`. */
const EventFrame = z
  .discriminatedUnion(
    'kind',
    ofEachKind((kind) => frameOf(kind).meta({ id: nameOf(kind, 'Event') })),
  )
  .meta({ id: 'EventFrame', ...discriminatorOf('Event'), examples: [EXAMPLE] })

/** A record as observers of all runs get it. */
const FeedFrame = z
  .discriminatedUnion(
    'kind',
    ofEachKind((kind) =>
      frameOf(kind)
        .extend({ cursor })
        .meta({ id: nameOf(kind, 'FeedEvent') }),
    ),
  )
  .meta({
    id: 'FeedFrame',
    ...discriminatorOf('FeedEvent'),
    examples: [{ ...EXAMPLE, cursor: 'VQ6EAOKbQdSnFkRmVUQAAN7xq8kQ2dE1.29' }],
  })

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
