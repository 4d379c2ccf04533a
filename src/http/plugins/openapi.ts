import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import packageJson from '../../../package.json' with { type: 'json' }
import { frameSchemas } from '../../api/frames.ts'
import { CATALOGUE } from '../../api/problems.ts'

const PROBLEMS = Object.entries(CATALOGUE)
  .map(([code, [status, detail]]) => `| \`${code}\` | ${status} | ${detail} |`)
  .join('\n')

const DESCRIPTION = `
Starts autonomous coding agents on projects, lets people watch them live, and keeps everything that they did in
an append-only log, one stream of records a run.

**Errors** are problem documents (RFC 9457): \`detail\` says what is wrong and what to do, for a person;
\`type\` is for programs: \`urn:retrai:problem:\` and a code of the list below. An invalid request lists all its problems in
\`errors\`.

**Live**: \`/api/ws/{run_id}\` and, for all runs, \`/api/ws\` are WebSockets; \`/api/runs/{run_id}/events\` and
\`/api/events\` give the same as pages, as NDJSON and as server-sent events.

**Access**: before the first token is created, the server answers only on loopback names, and only its own pages.
After that, everything under /api needs \`Authorization: Bearer <token>\` (401), of a role with the permission (403); a
WebSocket of a browser needs a ticket, \`POST /api/tickets\`. Bodies must be application/json.

**Secrets**: in place of a secret that the server recognizes by its shape, or a secret of the server itself, a record holds
\`[masked:<kind>]\`.

| code | status | usual \`detail\` |
|---|---|---|
${PROBLEMS}
`

/** Describes the routes that are registered after it: at /openapi.json. */
export async function describeApi(app: FastifyInstance): Promise<void> {
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
        { name: 'webhooks', description: 'Word of records, sent to an address' },
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
    transform: jsonSchemaTransform,
    transformObject: (document) => withoutUnusedSchemas(jsonSchemaTransformObject(document)),
  })
  app.route({
    method: 'GET',
    url: '/openapi.json',
    schema: { hide: true },
    handler: async () => {
      frameSchemas()
      return app.swagger()
    },
  })
}

const schemaRef = (name: string): string => `#/components/schemas/${name}`

/** Generators of types cannot write a type that names itself, so this one is open. */
const JSON_VALUE = { description: 'Any JSON value' } as const

/** The library makes every named schema twice, for requests and for responses. Only the used ones stay. */
function withoutUnusedSchemas(document: Description): Description {
  const schemas = schemasOf(document)
  if (schemas.Json !== undefined) schemas.Json = JSON_VALUE
  for (;;) {
    const text = JSON.stringify(document)
    const unused = Object.keys(schemas).filter((name) => !text.includes(`"${schemaRef(name)}"`))
    if (unused.length === 0) return document
    for (const name of unused) delete schemas[name]
  }
}

const schemasOf = (document: Description): Record<string, unknown> =>
  ('components' in document ? document.components?.schemas : undefined) ?? {}

type Description = ReturnType<typeof jsonSchemaTransformObject>
