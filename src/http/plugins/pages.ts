import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fastify, { type FastifyInstance } from 'fastify'
import { packageFolder } from '../../lib/paths.ts'
import { sendProblem } from '../problems/problem.ts'

const BUILT = `${join(packageFolder(), 'web/dist')}/`

/**
 * What a page may load: everything comes from this server. Inline styles are allowed, because the components of both
 * pages add them; inline scripts are not.
 */
const pagePolicy = (scripts = '', fonts = ''): string =>
  [
    "default-src 'none'",
    `script-src 'self'${scripts}`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    `font-src 'self'${fonts}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
const CONSOLE_POLICY = pagePolicy()

/** The addresses of the console's pages. The console reads the parameters itself. */
const PAGES = ['/', '/search', '/webhooks', '/runs/:run_id', '/server/:page']

/** Serves the console at /. `root`: the folder of its build. */
export async function serveConsole(app: FastifyInstance, root = BUILT): Promise<void> {
  await app.register(async (console) => {
    console.addHook('onRequest', async (_request, reply) => {
      reply.header('content-security-policy', CONSOLE_POLICY)
    })
    for (const url of PAGES) {
      console.route({
        method: 'GET',
        url,
        schema: { hide: true },
        handler: (_request, reply) => sendPage(reply, root),
      })
    }
    await console.register(fastifyStatic, {
      root: `${root}assets/`,
      prefix: '/assets/',
      // Their names hold a hash of what is in them.
      immutable: true,
      maxAge: '1y',
      schemaHide: true,
      decorateReply: false,
      // The build has compressed them already.
      preCompressed: true,
    })
  })
}

/** Whether a person with a browser opens an address that does not belong to the API. */
export const wantsPage = ({ method, url, headers }: FastifyRequest): boolean =>
  method === 'GET' && !url.startsWith('/api') && headers.accept?.includes('text/html') === true

/** The console's page for an address that does not exist. */
export function sendMissingPage(reply: FastifyReply, root = BUILT): Promise<FastifyReply> {
  return sendPage(reply.code(404).header('content-security-policy', CONSOLE_POLICY), root)
}

/** Reads the page for each request, so that a new build is served without a restart. */
async function sendPage(reply: FastifyReply, root: string): Promise<FastifyReply> {
  const page = await readFile(`${root}index.html`).catch(() => null)
  if (page === null) return reply.code(503).type('text/plain; charset=utf-8').send(NOT_BUILT)
  return reply.header('cache-control', 'no-cache').type('text/html; charset=utf-8').send(page)
}

const NOT_BUILT =
  'The server works, but its console is not built. Run "npm run build:web" in its folder and load this page again.\n'

/**
 * Serves the description as a page, at /docs. Everything that the page needs comes from this server. It is several
 * megabytes of script, so the server loads it with the first request for it.
 */
export function serveDocs(app: FastifyInstance): void {
  let docs: Promise<FastifyInstance> | null = null
  // A process without a free file descriptor cannot import a module: the next request tries again.
  const onFailure = (cause: unknown): never => {
    docs = null
    throw cause
  }
  for (const url of ['/docs', '/docs/*']) {
    app.route({
      method: 'GET',
      url,
      schema: { hide: true },
      handler: async (request, reply) => {
        docs ??= buildDocs().catch(onFailure)
        const answer = await (await docs).inject({ method: 'GET', url: request.url })
        if (answer.statusCode === 404) return sendProblem(request, reply, { code: 'not_found' })
        return reply.code(answer.statusCode).headers(answer.headers).send(answer.rawPayload)
      },
    })
  }
}

/** An app of its own, because an app that listens accepts no more plugins. */
async function buildDocs(): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference')
  const docs = fastify()
  const nonce = randomBytes(16).toString('base64')
  docs.addHook('onRequest', async (_request, reply) => {
    reply.header('content-security-policy', pagePolicy(` 'nonce-${nonce}'`, ' data:'))
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
