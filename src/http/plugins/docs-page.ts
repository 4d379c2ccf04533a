import { randomBytes } from 'node:crypto'
import fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { sendProblem } from '../problems/problem.ts'

/**
 * Serves the description as a page, at /docs. Everything that the page needs comes from this server. It is several
 * megabytes of script, so the server loads it with the first request for it.
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

/** An app of its own, because an app that listens accepts no more plugins. */
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
      // Nothing that sends requests to other servers.
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
