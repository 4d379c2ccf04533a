import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { handleNotFound } from '../../src/http/plugins/errors.ts'
import { serveConsole } from '../../src/http/plugins/pages.ts'

describe('the console is served', () => {
  let root: string
  let app: FastifyInstance
  beforeEach(async () => {
    root = `${await mkdtemp(join(tmpdir(), 'retrai-dist-'))}/`
    app = fastify()
  })
  afterEach(async () => {
    await app.close()
    await rm(root, { recursive: true, force: true })
  })

  const build = async (): Promise<void> => {
    await mkdir(`${root}assets`)
    await writeFile(`${root}index.html`, '<title>the console</title>')
    await writeFile(`${root}assets/index-abc.js`, 'let a')
    await serveConsole(app, root)
  }

  test('with the same page at each of its addresses, which browsers revalidate', async () => {
    await build()
    for (const url of ['/', '/?status=failed', '/runs/550e8400-e29b-41d4-a716-446655440000']) {
      const response = await app.inject(url)
      expect(response.statusCode).toBe(200)
      expect(response.body).toBe('<title>the console</title>')
      expect(response.headers['content-type']).toBe('text/html; charset=utf-8')
      expect(response.headers['cache-control']).toBe('no-cache')
    }
  })

  test('with scripts only from this server, and never in a frame', async () => {
    await build()
    for (const url of ['/', '/assets/index-abc.js']) {
      const policy = String((await app.inject(url)).headers['content-security-policy']).split('; ')
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("script-src 'self'")
      expect(policy).toContain("frame-ancestors 'none'")
    }
  })

  test('with files that are named by their content, which browsers keep', async () => {
    await build()
    const response = await app.inject('/assets/index-abc.js')
    expect(response.body).toBe('let a')
    expect(response.headers['cache-control']).toBe('public, max-age=31536000, immutable')
  })

  test('without any other file from the disk', async () => {
    await build()
    for (const url of ['/assets/', '/assets/../index.html', '/assets/%2e%2e/index.html', '/nope']) {
      expect([url, (await app.inject(url)).statusCode]).toEqual([url, 404])
    }
  })

  test('to a browser at an unknown address; programs get a problem document', async () => {
    handleNotFound(app, root)
    await build()
    const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }
    const page = await app.inject({ url: '/nope', headers: browser })
    expect(page.statusCode).toBe(404)
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(page.headers['content-security-policy']).toContain("default-src 'none'")
    for (const request of [
      { url: '/nope' },
      { url: '/api/nope', headers: browser },
      { method: 'POST', url: '/nope', headers: browser },
    ] as const) {
      const response = await app.inject(request)
      expect(response.statusCode).toBe(404)
      expect(response.headers['content-type']).toContain('application/problem+json')
    }
  })

  test('as a page that explains how to build it if it is not built; a build is found without a restart', async () => {
    await serveConsole(app, root)
    const before = await app.inject('/')
    expect(before.statusCode).toBe(503)
    expect(before.body).toContain('npm run build:web')
    await writeFile(`${root}index.html`, 'built')
    expect((await app.inject('/')).body).toBe('built')
  })
})
