import { randomBytes } from 'node:crypto'
import swagger from '@fastify/swagger'
import fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import packageJson from '../../../package.json' with { type: 'json' }
import { sendProblem } from '../problems/problem.ts'
import { describeSockets } from './asyncapi.ts'
import { describeHeaders, type Operation } from './described-headers.ts'
import { JSON_VALUE, usedSchemas } from './json-schemas.ts'
import { describeAccess } from './permission.ts'

const DESCRIPTION = `
Starts autonomous coding agents on projects, lets them be watched live, and keeps all that they did in
an append-only log, one stream of records a run.

**Errors** are problem documents (RFC 9457): \`detail\` says for a person what is wrong and what to do,
\`type\` is for programs. An invalid request lists all its problems in \`errors\`.

**Live**: \`/api/ws/{run_id}\` and, for all runs, \`/api/ws\` are WebSockets; \`/api/runs/{run_id}/events\` and
\`/api/events\` give the same as pages, as NDJSON and as server-sent events. \`/asyncapi.json\` describes the sockets.

**Access**: as long as no token was made, the server answers only on loopback names, and only its own pages.
Then everything under /api asks for \`Authorization: Bearer <token>\` (401), of a role that may do it (403); a
WebSocket of a browser for a ticket, \`POST /api/tickets\`. Bodies must be application/json.

**Secrets**: where a record would hold one that is known by its shape, or one of the server itself, it holds
\`[masked:<kind>]\` instead.
`

/** Describes all routes that are registered after it, at /openapi.json, and the sockets at /asyncapi.json. */
export const describeApi = fp(
  async (app) => {
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
          { name: 'history', description: 'What happened, and how things stood at any moment' },
          {
            name: 'audit',
            description: 'Signed proofs of what the log holds, and who was shown what',
          },
          { name: 'access', description: 'Who may ask: tokens, roles, tickets' },
          { name: 'goals', description: 'What a run can be asked to reach' },
          { name: 'health', description: 'For supervisors and load balancers' },
        ],
        security: [{}, { token: [] }],
        components: {
          securitySchemes: {
            token: {
              type: 'http',
              scheme: 'bearer',
              description: 'A token, where there are any',
            },
          },
        },
      },
      transform: ({ schema, ...rest }) => {
        if (schema?.hide === true) return jsonSchemaTransform({ schema, ...rest })
        const described = describeAccess(schema, rest.url, rest.route.config?.needs)
        return jsonSchemaTransform({ schema: described, ...rest })
      },
      transformObject: (document) =>
        withHeaders(withoutUnusedSchemas(jsonSchemaTransformObject(document))),
    })
    app.route({
      method: 'GET',
      url: '/openapi.json',
      schema: { hide: true },
      handler: async () => app.swagger(),
    })
    describeSockets(app)
  },
  { name: 'descriptions', dependencies: ['permissions'] },
)

/** Every named schema is made for requests and for responses; only those that an address uses stay. */
function withoutUnusedSchemas(document: Description): Description {
  const schemas = 'components' in document ? document.components?.schemas : undefined
  if (schemas === undefined) return document
  if (schemas.Json !== undefined) schemas.Json = JSON_VALUE
  const used = usedSchemas(document.paths, schemas)
  for (const name of Object.keys(schemas)) if (!(name in used)) delete schemas[name]
  return document
}

function withHeaders(document: Description): Description {
  const paths = (document.paths ?? {}) as Readonly<Record<string, Record<string, Operation>>>
  for (const methods of Object.values(paths)) {
    for (const operation of Object.values(methods)) describeHeaders(operation)
  }
  return document
}
type Description = ReturnType<typeof jsonSchemaTransformObject>

/**
 * Serves the description as a page, at /docs. Everything it needs comes from this server. The page is
 * several megabytes of script, so it is loaded with the first request for it.
 */
export const serveDocs = fp(
  async (app) => {
    let docs: Promise<FastifyInstance> | undefined
    for (const url of ['/docs', '/docs/*']) {
      app.route({
        method: 'GET',
        url,
        schema: { hide: true },
        handler: async (request, reply) => {
          docs ??= buildDocs()
          const answer = await (await docs).inject({ method: 'GET', url: request.url })
          if (answer.statusCode === 404) return sendProblem(request, reply, { code: 'not_found' })
          return reply.code(answer.statusCode).headers(answer.headers).send(answer.rawPayload)
        },
      })
    }
  },
  { name: 'docs-page', dependencies: ['descriptions'] },
)

/** An app of its own, since nothing can be registered with one that listens already. */
async function buildDocs(): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference')
  const docs = fastify()
  const nonce = randomBytes(16).toString('base64')
  docs.addHook('onRequest', async (_request, reply) => {
    reply.header(
      'content-security-policy',
      [...POLICY, `script-src 'self' 'nonce-${nonce}'`].join('; '),
    )
  })
  await docs.register(scalar, {
    routePrefix: '/docs',
    configuration: {
      url: '/openapi.json',
      nonce,
      pageTitle: 'retrAI API',
      // Nothing that talks to anybody else.
      withDefaultFonts: false,
      telemetry: false,
      hideClientButton: true,
      showDeveloperTools: 'never',
      agent: { disabled: true },
      mcp: { disabled: true },
    },
  })
  return docs
}

const POLICY = [
  "default-src 'none'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
]
