import { createServer } from 'node:net'
import { describe, expect } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { portOf, serve } from '../support/serve.ts'
import { GOALS, type TestServer } from '../support/server.ts'
import { test } from '../support/test.ts'

const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'

const client = (server: TestServer) => createClient({ baseUrl: server.url })

describe('the calls', () => {
  test('start, read, configure and abort a run', async ({ server }) => {
    const { runs } = client(server)
    const started = (await runs.create({ goal: 'pytest', max_cost_usd: 2 }))._unsafeUnwrap()
    expect(started.status).toBe('running')
    const { run_id } = started
    expect((await runs.get(run_id))._unsafeUnwrap()).toMatchObject({ max_cost_usd: 2 })
    const changed = (await runs.configure(run_id, { max_iterations: 3 }))._unsafeUnwrap()
    expect(changed.max_iterations).toBe(3)
    expect((await runs.abort(run_id, { reason: 'enough' }))._unsafeUnwrap()).toEqual({
      run_id,
      status: 'aborted',
    })
    const ended = (await runs.abort(run_id))._unsafeUnwrapErr()
    expect(ended).toMatchObject({ type: 'refused', code: 'run_ended', status: 409 })
    const wrong = (await runs.create({ goal: 'pytest', max_tokens: 0 }))._unsafeUnwrapErr()
    expect(wrong).toMatchObject({ status: 422, errors: [{ field: 'max_tokens' }] })
  })

  test('list runs page by page, with filters', async ({ ownServer: server }) => {
    const { runs } = client(server)
    const ids: string[] = []
    for (const goal of ['pytest', 'npm-test', 'pytest', 'pytest']) {
      const { run_id } = (await runs.create({ goal }))._unsafeUnwrap()
      if (goal === 'pytest') ids.unshift(run_id)
    }
    const first = (await runs.list({ limit: 2, goal: 'pytest' }))._unsafeUnwrap()
    const cursor = first.next ?? undefined
    const second = (await runs.list({ limit: 2, goal: 'pytest', cursor }))._unsafeUnwrap()
    expect([...first.runs, ...second.runs].map(({ run_id }) => run_id)).toEqual(ids)
    expect(second.next).toBeNull()
  })

  test('accept a base address with a slash at its end', async ({ server }) => {
    const slashed = createClient({ baseUrl: `${server.url}/` })
    expect((await slashed.goals())._unsafeUnwrap()).toEqual(GOALS)
  })
})

describe('an error is a value', () => {
  test('unknown run', async ({ server }) => {
    const error = (await client(server).runs.get(UNKNOWN))._unsafeUnwrapErr()
    expect(error).toMatchObject({ type: 'refused', code: 'run_not_found', status: 404 })
    const odd = (await client(server).runs.get('../goals'))._unsafeUnwrapErr()
    expect(odd).toMatchObject({ type: 'refused', code: 'run_not_found' })
  })

  test('no server at the address', async () => {
    const closed = createServer()
    const baseUrl = `http://127.0.0.1:${await portOf(closed)}`
    closed.close()
    const message = expect.stringMatching(`${baseUrl}.*ECONNREFUSED`)
    const error = (await createClient({ baseUrl }).goals())._unsafeUnwrapErr()
    expect(error).toEqual({ type: 'unreachable', message })
  })

  test('no answer in time', async () => {
    const baseUrl = await serve(() => {})
    const slow = createClient({ baseUrl, limits: { requestMs: 50 } })
    const message = expect.stringContaining('no answer within 0.05 s')
    expect((await slow.goals())._unsafeUnwrapErr()).toEqual({ type: 'unreachable', message })
  })

  test('files may be carried for longer', async () => {
    const baseUrl = await serve((_request, response) => {
      setTimeout(() => response.end('{"files":[],"not_carried":[]}'), 200)
    })
    const { runs } = createClient({ baseUrl, limits: { requestMs: 50 } })
    expect((await runs.apply(UNKNOWN, { as: 'files' })).isOk()).toBe(true)
    expect((await runs.rollback(UNKNOWN, { to: 0 })).isOk()).toBe(true)
  })

  test.each([
    ['a page', 200, '<html></html>'],
    ['an error page', 404, '<html></html>'],
    ['JSON of another shape', 200, '[{"title": "x"}]'],
    ['a problem of another server', 404, '{"type": "about:blank", "detail": "x"}'],
  ])('another program that answers with %s', async (_what, status, body) => {
    const baseUrl = await serve((_request, response) => response.writeHead(status).end(body))
    const error = (await createClient({ baseUrl }).goals())._unsafeUnwrapErr()
    expect(error).toMatchObject({ type: 'not_understood', status })
  })

  test.for([301, 302, 303, 307, 308])('a server that redirects with %i', async (status) => {
    const asked: unknown[] = []
    const elsewhere = await serve((request, response) => {
      asked.push(request.url)
      response.end('[]')
    })
    const baseUrl = await serve((request, response) => {
      response.writeHead(status, { location: `${elsewhere}${request.url}` }).end()
    })
    const client = createClient({ baseUrl, token: 'retrai_a' })
    for (const called of [await client.goals(), await client.runs.abort(UNKNOWN)]) {
      const error = called._unsafeUnwrapErr()
      expect(error).toMatchObject({ type: 'not_understood', status })
      expect(error.message).toContain(elsewhere)
    }
    expect(asked).toEqual([])
  })

  test('a token that is not valid in a header, and is not shown', async ({ server }) => {
    const token = 'retrai_a\nretrai_b'
    const error = (await createClient({ baseUrl: server.url, token }).goals())._unsafeUnwrapErr()
    expect(error.message).toContain('[the token]')
    expect(error.message).not.toContain('retrai_')
  })

  test('a call that was aborted', async () => {
    const abort = new AbortController()
    const baseUrl = await serve(() => abort.abort())
    const called = await createClient({ baseUrl }).goals({ signal: abort.signal })
    expect(called._unsafeUnwrapErr().type).toBe('aborted')
  })
})

test.each(['nowhere', 'ftp://example.org'])('"%s" is not an address of a server', (baseUrl) => {
  expect(() => createClient({ baseUrl })).toThrow(TypeError)
})

test('a token is sent, and a request without it is refused', async ({ startServer }) => {
  const token = 'secret-0123456789'
  const { url: baseUrl } = await startServer({ token })
  expect((await createClient({ baseUrl, token }).goals()).isOk()).toBe(true)
  const none = (await createClient({ baseUrl }).goals())._unsafeUnwrapErr()
  expect(none).toMatchObject({ type: 'refused', code: 'unauthenticated', status: 401 })
})
