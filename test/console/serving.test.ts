import { randomUUID } from 'node:crypto'
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

  test('with the same page at each of its addresses, and files that browsers keep, with scripts only from this server and never in a frame', async () => {
    await build()
    for (const [url, type, body, cache] of [
      ['/', 'text/html', '<title>the console</title>', 'no-cache'],
      ['/?status=failed', 'text/html', '<title>the console</title>', 'no-cache'],
      [`/runs/${randomUUID()}`, 'text/html', '<title>the console</title>', 'no-cache'],
      [
        '/assets/index-abc.js',
        'application/javascript',
        'let a',
        'public, max-age=31536000, immutable',
      ],
    ] as const) {
      const response = await app.inject(url)
      expect(response).toMatchObject({ statusCode: 200, body })
      expect(response.headers['content-type']).toBe(`${type}; charset=utf-8`)
      expect(response.headers['cache-control']).toBe(cache)
      const policy = String(response.headers['content-security-policy']).split('; ')
      for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]) {
        expect(policy).toContain(part)
      }
    }
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
