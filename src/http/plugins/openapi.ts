import swagger from '@fastify/swagger'
import fp from 'fastify-plugin'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import * as z from 'zod'
import packageJson from '../../../package.json' with { type: 'json' }
import { CLOSE_CODES, CLOSE_MEANINGS } from '../../api/close-codes.ts'
import { addExamples } from '../../api/examples.ts'
import { frameSchemas } from '../../api/frames.ts'
import type { AppDeps } from '../deps.ts'
import { JSON_VALUE, schemaRef, usedSchemas } from './json-schemas.ts'
import { describeAccess } from './permission.ts'

const CLOSING = Object.entries(CLOSE_CODES)
  .map(([name, code]) => `${code} (${CLOSE_MEANINGS[name as keyof typeof CLOSE_CODES]})`)
  .join(', ')

const DESCRIPTION = `
Starts autonomous coding agents on projects, lets people watch them live, and keeps everything that they did in
an append-only log, one stream of records a run.

**Errors** are problem documents (RFC 9457): \`detail\` says what is wrong and what to do, for a person;
\`type\` is for programs. An invalid request lists all its problems in \`errors\`.

**Live**: \`/api/ws/{run_id}\` and, for all runs, \`/api/ws\` are WebSockets; \`/api/runs/{run_id}/events\` and
\`/api/events\` give the same as pages, as NDJSON and as server-sent events.
Codes with which a socket is closed: ${CLOSING}.

**Access**: before the first token is created, the server answers only on loopback names, and only its own pages.
After that, everything under /api needs \`Authorization: Bearer <token>\` (401), of a role with the permission (403); a
WebSocket of a browser needs a ticket, \`POST /api/tickets\`. Bodies must be application/json.

**Secrets**: in place of a secret that the server recognizes by its shape, or a secret of the server itself, a record holds
\`[masked:<kind>]\`.
`

/** Describes the routes that are registered after it: at /openapi.json. */
export const describeApi = fp<Pick<AppDeps, 'defaults'>>(
  async (app, { defaults }) => {
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'retrAI',
          version: packageJson.version,
          description: DESCRIPTION,
          license: { name: 'MIT', identifier: 'MIT' },
        },
        servers: [{ url: '/', description: 'This server' }],
        tags: [
          { name: 'runs', description: 'Start, read, and steer runs' },
          { name: 'live', description: 'Watch runs while they work' },
          { name: 'history', description: 'What happened in a run, and its state at any record' },
          {
            name: 'audit',
            description: 'Signed proofs of what the log holds, and who read what',
          },
          { name: 'access', description: 'Tokens, roles and tickets of callers' },
          { name: 'goals', description: 'The goals that a run can have' },
          { name: 'models', description: 'The models that a run can name' },
          { name: 'health', description: 'For supervisors and load balancers' },
        ],
        security: [{}, { token: [] }],
        components: {
          securitySchemes: {
            token: {
              type: 'http',
              scheme: 'bearer',
              description: 'A token, if the server needs one',
            },
          },
        },
      },
      transform: ({ schema, ...rest }) => {
        if (schema?.hide === true) return jsonSchemaTransform({ schema, ...rest })
        const described = describeAccess(schema, rest.url, rest.route.config?.needs)
        return jsonSchemaTransform({ schema: described, ...rest })
      },
      transformObject: (document) => {
        const whole = withOneName(withoutUnusedSchemas(jsonSchemaTransformObject(document)))
        describeDefaults(whole, defaults)
        return withHeaders(whole)
      },
    })
    app.route({
      method: 'GET',
      url: '/openapi.json',
      schema: { hide: true },
      handler: async () => {
        addExamples()
        frameSchemas()
        return app.swagger()
      },
    })
  },
  { name: 'descriptions', dependencies: ['permissions'] },
)

/** The library makes every named schema twice, for requests and for responses. Only the used ones stay. */
function withoutUnusedSchemas(document: Description): Description {
  const schemas = schemasOf(document)
  if (schemas.Json !== undefined) schemas.Json = JSON_VALUE
  const used = usedSchemas(document.paths, schemas)
  for (const name of Object.keys(schemas)) if (!(name in used)) delete schemas[name]
  return document
}

/** A schema of requests has the suffix Input. If there is no schema of responses of that name, it loses the suffix. */
function withOneName(document: Description): Description {
  const schemas = schemasOf(document)
  let text = JSON.stringify(document)
  for (const name of Object.keys(schemas)) {
    const short = name.replace(/Input$/, '')
    if (short === name || short in schemas) continue
    text = text
      .replaceAll(`"${schemaRef(name)}"`, `"${schemaRef(short)}"`)
      .replace(`"${name}":{`, `"${short}":{`)
  }
  return JSON.parse(text)
}

const schemasOf = (document: Description): Record<string, unknown> =>
  ('components' in document ? document.components?.schemas : undefined) ?? {}

const Properties = z.looseObject({
  properties: z.record(z.string(), z.record(z.string(), z.unknown())),
})

/** Adds the defaults of this server, but not its folder: the description does not name folders. */
function describeDefaults(
  document: Description,
  { model_name, max_iterations }: AppDeps['defaults'],
): void {
  const schemas = schemasOf(document)
  const { properties, ...rest } = Properties.parse(schemas.CreateRun)
  Object.assign(properties.model_name ?? {}, { default: model_name })
  Object.assign(properties.max_iterations ?? {}, { default: max_iterations })
  schemas.CreateRun = { ...rest, properties }
}

function withHeaders(document: Description): Description {
  const paths = (document.paths ?? {}) as Readonly<Record<string, Record<string, Operation>>>
  for (const methods of Object.values(paths)) {
    for (const operation of Object.values(methods)) describeHeaders(operation)
  }
  return document
}
type Description = ReturnType<typeof jsonSchemaTransformObject>

/** An operation in the description of the API: what its headers depend on. */
type Operation = {
  readonly operationId?: string
  parameters?: unknown[]
  readonly responses?: Readonly<Record<string, Response>>
}
type Response = { readonly content?: Readonly<Record<string, unknown>>; headers?: object }

const ANSWER_HEADERS = {
  ETag: 'The revision of the answer: send it back in If-None-Match',
  Link: 'The address of the next page, `<…>; rel="next"`; the last page has none',
  Location: 'The address of the run',
  'Retry-After': 'Seconds to wait before the request is sent again',
} as const
type AnswerHeader = keyof typeof ANSWER_HEADERS

const REQUEST_HEADERS = {
  'Idempotency-Key':
    'A name for this request: if a client sends the request again, it is carried out only once',
  'If-None-Match': 'An ETag of an earlier answer: the answer is 304 if nothing has changed',
} as const

/** The operations whose requests may have a name. */
const NAMED: readonly string[] = ['createRun', 'sendMessage']

/** The headers of operations that do not follow from their statuses. */
const OF_OPERATION: Readonly<Record<string, AnswerHeader>> = {
  createRun: 'Location',
  configureRun: 'ETag',
  listRuns: 'Link',
  runEvents: 'Link',
  allEvents: 'Link',
  listAccesses: 'Link',
}

/** Adds the headers that a client of the operation works with to its description. */
function describeHeaders(operation: Operation): void {
  const { operationId = '', responses = {} } = operation
  const conditional = '304' in responses
  if (NAMED.includes(operationId)) addRequestHeader(operation, 'Idempotency-Key')
  if (conditional) addRequestHeader(operation, 'If-None-Match')
  for (const [status, response] of Object.entries(responses)) {
    const own = status === '200' || status === '201' ? OF_OPERATION[operationId] : undefined
    if (own !== undefined) addAnswerHeader(response, own)
    if (conditional && (status === '200' || status === '304')) addAnswerHeader(response, 'ETag')
    const problem = response.content?.['application/problem+json'] !== undefined
    if (problem && (status === '429' || status === '503')) addAnswerHeader(response, 'Retry-After')
  }
}

function addRequestHeader(operation: Operation, name: keyof typeof REQUEST_HEADERS): void {
  const parameter = { in: 'header', name, required: false, description: REQUEST_HEADERS[name] }
  const before = operation.parameters ?? []
  operation.parameters = [...before, { ...parameter, schema: { type: 'string' } }]
}

function addAnswerHeader(response: Response, name: AnswerHeader): void {
  const schema = { type: name === 'Retry-After' ? 'integer' : 'string' }
  response.headers = { ...response.headers, [name]: { description: ANSWER_HEADERS[name], schema } }
}
