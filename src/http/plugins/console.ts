import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { packageFolder } from '../../lib/package-files.ts'

const BUILT = `${join(packageFolder(), 'web/dist')}/`

/**
 * Everything comes from this server. Inline styles are allowed, because the components of the page add them; inline
 * scripts are not.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** The addresses of the console's pages. The console reads the parameters itself. */
const PAGES = ['/', '/runs/:run_id']

/** Serves the console at /. `root`: the folder of its build. */
export const serveConsole = fp<{ readonly root?: string }>(
  async (app, { root = BUILT }) => {
    await app.register(async (console) => {
      console.addHook('onRequest', async (_request, reply) => {
        reply.header('content-security-policy', POLICY)
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
      })
    })
  },
  { name: 'console' },
)

/** Whether a person with a browser opens an address that does not belong to the API. */
export const wantsPage = ({ method, url, headers }: FastifyRequest): boolean =>
  method === 'GET' && !url.startsWith('/api') && headers.accept?.includes('text/html') === true

/** The console's page for an address that does not exist. */
export function sendMissingPage(reply: FastifyReply, root = BUILT): Promise<FastifyReply> {
  return sendPage(reply.code(404).header('content-security-policy', POLICY), root)
}

/** Reads the page for each request, so that a new build is served without a restart. */
async function sendPage(reply: FastifyReply, root: string): Promise<FastifyReply> {
  const page = await readFile(`${root}index.html`).catch(() => null)
  reply.header('cache-control', 'no-cache').type('text/html; charset=utf-8')
  return page === null ? reply.code(503).send(NOT_BUILT) : reply.send(page)
}

const NOT_BUILT = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>retrAI</title>
<style>body { max-width: 36rem; margin: 4rem auto; padding: 0 1rem; font: 16px/1.6 system-ui; color-scheme: light dark }</style>
<h1>The console is not built</h1>
<p>The server works. To have its console here, run <code>npm run build:web</code> in its folder and load this page again.</p>
<p>The API is described at <a href="/docs">/docs</a>.</p>
`
