import fc from 'fast-check'
import * as z from 'zod'

/** A JSON Schema, as far as requests are made from it. */
type Schema = { readonly [name: string]: unknown }
const Schema: z.ZodType<Schema> = z.record(z.string(), z.unknown())

const Parameter = z.looseObject({
  in: z.enum(['path', 'query', 'header']),
  name: z.string(),
  required: z.boolean().optional(),
  schema: Schema.optional(),
})
const Operation = z.looseObject({
  operationId: z.string(),
  parameters: z.array(Parameter).optional(),
  requestBody: z
    .looseObject({ content: z.record(z.string(), z.looseObject({ schema: Schema })) })
    .optional(),
  responses: z.record(
    z.string(),
    z.looseObject({
      content: z.record(z.string(), z.looseObject({ schema: Schema.optional() })).optional(),
    }),
  ),
})
/** The parts of the description of the API that the fuzz uses. */
export const ApiDocument = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), Operation)),
  components: z.looseObject({ schemas: z.record(z.string(), Schema) }),
})
export type ApiDocument = z.infer<typeof ApiDocument>
type Operation = z.infer<typeof Operation>
type Parameter = z.infer<typeof Parameter>

/** One request. `{run}` in it is replaced by the id of a run, `{token}` by the id of a token. */
export type FuzzRequest = {
  readonly operation: Operation
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  /** The index of the identity that sends it. */
  readonly identity: number
}

const HOSTILE_TEXTS = [
  '',
  ' ',
  '0',
  '-1',
  '-0',
  '1e999',
  '1e3',
  '0x10',
  'NaN',
  'Infinity',
  '999999999999999',
  '9999999999',
  '9'.repeat(400),
  '1.5',
  'null',
  'true',
  '[]',
  '{}',
  '../../etc/passwd',
  '%00',
  '\u0000',
  '\ud83d',
  '\u202e',
  '\r\nx: y',
  "'; --",
  '__proto__',
  'constructor',
  'toString',
  'x'.repeat(3000),
  '💥'.repeat(200),
  'latest',
  'all',
  'end',
  '*',
  '/',
  '~1',
  ','.repeat(500),
] as const
const hostileText = fc.oneof(fc.constantFrom(...HOSTILE_TEXTS), fc.string({ unit: 'binary' }))

/** One of these, each as often as its weight. */
const weighted = <T>(...of: readonly (readonly [weight: number, arbitrary: fc.Arbitrary<T>])[]) =>
  fc.oneof(...of.map(([weight, arbitrary]) => ({ weight, arbitrary })))

/** What a schema lists; nothing if it has no such list. */
const listIn = <T>(item: z.ZodType<T>, list: unknown): readonly T[] =>
  z.array(item).catch([]).parse(list)

/** A number for this schema: its bounds, the numbers next to them, or any other. */
function numberOf({ minimum, maximum, exclusiveMinimum }: Schema): fc.Arbitrary<number> {
  const bounds = [minimum, maximum, exclusiveMinimum].filter((bound) => typeof bound === 'number')
  const near = bounds.flatMap((bound) => [bound - 1, bound, bound + 1])
  return fc.oneof(fc.nat({ max: 20 }), fc.constantFrom(1, 2, 0.5, ...near), fc.double())
}

/** Values that fit a schema, more or less. */
function valuesOf(schema: Schema, document: ApiDocument): fc.Arbitrary<unknown> {
  const reference = /^#\/components\/schemas\/(.+)$/.exec(String(schema.$ref ?? ''))?.[1]
  if (reference !== undefined)
    return valuesOf(document.components.schemas[reference] ?? {}, document)
  const examples = listIn(z.unknown(), schema.examples)
  const alternatives = listIn(Schema, schema.anyOf ?? schema.oneOf)
  if (alternatives.length > 0) {
    return fc.oneof(...alternatives.map((one) => valuesOf(one, document)))
  }
  const listed = listIn(z.unknown(), schema.enum)
  if (listed.length > 0) return fc.constantFrom(...listed)
  if ('const' in schema) return fc.constant(schema.const)
  const own = examples.length > 0 ? [fc.constantFrom(...examples)] : []
  switch (schema.type) {
    case 'integer':
    case 'number':
      return fc.oneof(...own, numberOf(schema))
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    case 'array':
      return fc.array(valuesOf(Schema.catch({}).parse(schema.items), document), { maxLength: 3 })
    case 'object': {
      const properties = z.record(z.string(), Schema).catch({}).parse(schema.properties)
      const made = Object.entries(properties).map(
        ([name, property]) => [name, maybe(valuesOf(property, document))] as const,
      )
      return fc.oneof(...own, fc.record(Object.fromEntries(made), { requiredKeys: [] }))
    }
    default:
      return fc.oneof(...own, textOf(schema))
  }
}

function textOf({ pattern }: Schema): fc.Arbitrary<string> {
  if (typeof pattern !== 'string')
    return fc.oneof(fc.constant('{run}'), fc.string({ maxLength: 20 }))
  return fc.stringMatching(new RegExp(pattern), { size: 'small' })
}

/** A value, and now and then one that does not belong there. */
const maybe = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  weighted([6, value], [1, hostileText], [1, fc.jsonValue({ maxDepth: 3 })])

const RAW_BODIES = [
  '',
  '{',
  'null',
  '[]',
  '"x"',
  '1e999',
  '\ufeff{}',
  '{"a":1,"a":2}',
  '{"__proto__":{"x":1}}',
  '{"constructor":{"prototype":{}}}',
  '['.repeat(5000),
  `${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}`,
  '{"goal":"pytest","max_cost_usd":1e999}',
  '{"goal":"pytest","reason":"\\ud800"}',
  '{"goal":"pytest","cwd":"/\\u0000"}',
  '{"decision":"approve","seq":1e999}',
  `{"reason":"${'x'.repeat(1_100_000)}"}`,
] as const

/** Requests that are likely to be accepted, so there is something to ask for. */
const GOOD: Readonly<Record<string, readonly string[]>> = {
  createRun: ['{"goal":"pytest"}', '{"goal":"pytest","hitl_enabled":true,"max_iterations":2}'],
  answerApproval: [`{"decision":"allow","call_sha256":"${'0'.repeat(64)}"}`],
  abortRun: ['{"reason":"no longer needed"}'],
  sendMessage: ['{"text":"Leave the API as it is."}'],
  configureRun: ['{"max_iterations":30}'],
  redactRun: ['{"seq":0,"pointer":"/system_prompt","reason":"a password"}'],
}

function bodyOf(operation: Operation, document: ApiDocument): fc.Arbitrary<string | undefined> {
  const schema = operation.requestBody?.content['application/json']?.schema
  const raw = fc.constantFrom(undefined, ...RAW_BODIES)
  if (schema === undefined) return raw
  const fitting = valuesOf(schema, document).map((value) => JSON.stringify(value))
  const good = fc.constantFrom(...(GOOD[operation.operationId] ?? ['{}']))
  return weighted<string | undefined>([4, fitting], [2, good], [1, raw])
}

const HEADERS = {
  accept: [
    '*/*',
    'application/json',
    'application/x-ndjson',
    'text/event-stream',
    'x/y',
    ',;q=1e999',
  ],
  'if-none-match': ['*', '"0"', 'W/"1", "2"', ',,,'],
  'last-event-id': ['0', '-1', '99999999999999999999', 'x'],
  'idempotency-key': ['one', 'two', 'two words', 'x'.repeat(300)],
  'content-type': ['application/json', 'text/plain', 'application/json; charset=latin1', ';'],
  upgrade: ['websocket', 'h2c'],
  expect: ['100-continue', 'more'],
  'sec-fetch-site': ['cross-site', 'none'],
  origin: ['null', 'http://attacker.example'],
  host: ['attacker.example', 'localhost'],
} as const

/** Mostly no headers: many of them end a request before it reaches its route. */
const headers: fc.Arbitrary<Record<string, string>> = fc
  .array(
    fc
      .constantFrom(...Object.entries(HEADERS))
      .chain(([name, values]) =>
        fc.constantFrom<string>(...values).map((value) => [name, value] as const),
      ),
    { maxLength: 2 },
  )
  .map((pairs) => Object.fromEntries(pairs))

/** The values of a parameter in an address. */
function parameterOf(
  { name, schema = {} }: Parameter,
  document: ApiDocument,
): fc.Arbitrary<string> {
  const known = name === 'run_id' ? '{run}' : name === 'id' ? '{token}' : undefined
  const fitting = valuesOf(schema, document).map(String)
  const usual = known === undefined ? fitting : fc.constant(known)
  return weighted([4, usual], [1, fitting], [2, hostileText])
}

const inAddress = (text: string): string =>
  /^\{\w+\}$/.test(text) ? text : encodeURIComponent(text.toWellFormed())

type Query = readonly (readonly [name: string, value: string])[]
const ODD_QUERY: Query = [['__proto__', 'x'], ...['1', '2'].map((n) => ['limit', n] as const)]

/** Requests to one operation. @param identities how many there are to ask */
function requestTo(
  [method, path, operation]: readonly [string, string, Operation],
  document: ApiDocument,
  identities: number,
): fc.Arbitrary<FuzzRequest> {
  const { parameters = [] } = operation
  const named = (place: string) => parameters.filter((parameter) => parameter.in === place)
  const values = (place: string) =>
    fc.tuple(
      ...named(place).map((parameter) =>
        parameterOf(parameter, document).map((value) => [parameter.name, value] as const),
      ),
    )
  const query = weighted<Query>(
    [8, values('query').chain((all) => fc.subarray([...all]))],
    [1, fc.constant(ODD_QUERY)],
  )
  return fc
    .record({
      inPath: values('path'),
      query,
      headers: weighted([3, fc.constant<Record<string, string>>({})], [1, headers]),
      body: bodyOf(operation, document),
      identity: fc.nat({ max: identities - 1 }),
    })
    .map(({ inPath, query, headers, body, identity }) => {
      const full = inPath.reduce(
        (address, [name, value]) => address.replace(`{${name}}`, () => inAddress(value)),
        path,
      )
      const search = query.map(([name, value]) => `${name}=${inAddress(value)}`).join('&')
      const json = body === undefined ? {} : { 'content-type': 'application/json' }
      return {
        operation,
        method: method.toUpperCase(),
        identity,
        path: search === '' ? full : `${full}?${search}`,
        headers: { ...json, ...headers },
        body: method === 'get' ? undefined : body,
      }
    })
}

/** Requests to all operations of the description; those that make something come more often. */
export function requests(document: ApiDocument, identities: number): fc.Arbitrary<FuzzRequest> {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const weight = operation.operationId === 'createRun' ? 4 : 1
      return [weight, requestTo([method, path, operation], document, identities)] as const
    }),
  )
  return weighted(...all)
}
