import { describe, expect, test } from 'vitest'
import { serve } from '../support/serve.ts'
import { cleanEnv, type Finished, refused, retrai, retraiProcess } from './support.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'
const EVIL = 'a\x1b]0;title\x07\x1b[2J\x9b31m\u202eb\nretrai: all is well'
const HEX = 'a'.repeat(64)

const answering = (body: unknown, status = 200, headers = {}): Promise<string> =>
  serve((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(body))
  })

const withToken = { ...cleanEnv(), RETRAI_TOKEN: 'retrai_secret' }

const cli = (url: string, ...args: string[]): Promise<Finished> =>
  retrai(args, { ...withToken, RETRAI_SERVER: url })

/** The output must be lines of text only. */
function expectHarmless({ stdout, stderr }: Finished): void {
  for (const line of `${stdout}${stderr}`.split('\n')) {
    expect(line).not.toMatch(/\p{Cc}|[\u202a-\u202e]/u)
    expect(line).not.toBe('retrai: all is well')
  }
}

const summary = {
  run_id: RUN,
  goal: EVIL,
  status: 'running',
  created_at: '2026-01-01T00:00:00.000Z',
}
const problem = {
  type: 'urn:retrai:problem:forbidden',
  title: EVIL,
  status: 403,
  detail: EVIL,
  instance: EVIL,
}
const access = {
  seq: 1,
  kind: 'run_read',
  ts: 1e300,
  payload: {
    principal: EVIL,
    client: EVIL,
    run_id: null,
    operation: EVIL,
    asked: EVIL,
    count: 1,
    first_ts: 1e300,
    last_ts: 1e300,
  },
}

describe('the text of a server is shown as text', () => {
  test.each([
    ['runs', [summary]],
    ['goals', [{ name: EVIL, description: EVIL }]],
    ['access', [access]],
  ])('in the table of retrai %s', async (command, body) => {
    const done = await cli(await answering(body), command)
    expect([done.code, done.stderr]).toEqual([0, ''])
    expect(done.stdout).toContain('all is well')
    expectHarmless(done)
  })

  test('as JSON, with the same value', async () => {
    const done = await cli(await answering([{ name: EVIL, description: EVIL }]), 'goals', '--json')
    expect(JSON.parse(done.stdout)).toEqual({ name: EVIL, description: EVIL })
    expectHarmless(done)
  })

  test.each([['runs'], ['watch', RUN], ['export', RUN, '-'], ['verify', '--server']])(
    'in an error of retrai %s %s',
    async (...args) => {
      const url = await answering(problem, 403)
      const done = await cli(url, ...args, ...(args.includes('--server') ? [url] : []))
      expect(done.code).toBe(3)
      expect(done.stderr).toContain('all is well')
      expectHarmless(done)
    },
  )
})

describe('a command gives up on a server that answers endlessly', () => {
  test('in one answer', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const chunk = ' '.repeat(1 << 20)
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
        response.once('drain', more)
      }
      more()
    })
    await refused(['verify', '--server', url], 'longer than this program reads')
  })

  test('with the same pages', async () => {
    const next = (query: string) => ({ link: `<${query}>; rel="next"` })
    const empty = await answering([], 200, next('/api/runs?cursor=a'))
    expect(await cli(empty, 'runs')).toMatchObject({ code: 0, stdout: '' })
    const again = await answering([summary], 200, next('/api/runs?cursor=a'))
    await refused(['runs', '--server', again], 'again and again')
  })

  test('with the same checkpoints', async () => {
    const checkpoint = {
      type: 'retrai.checkpoint.v1',
      log_id: RUN,
      number: 0,
      runs: 0,
      root: HEX,
      previous: HEX,
      signed_at: '2026-01-01T00:00:00.000Z',
      key: HEX,
      signature: HEX + HEX,
    }
    const url = await serve(({ url: path }, response) => {
      const body = path?.startsWith('/api/keys') ? { keys: [] } : [checkpoint, checkpoint]
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    await refused(['verify', '--server', url], 'The server sends checkpoint 0')
  })
})

describe('the token', () => {
  test('goes to no other server, and neither does the request', async () => {
    const asked: unknown[] = []
    const other = await serve((request, response) => {
      asked.push(request.headers)
      response.end('{}')
    })
    const url = await serve((request, response) => {
      response.writeHead(307, { location: `${other}${request.url}` }).end()
    })
    for (const args of [['runs'], ['abort', RUN], ['export', RUN, '-']]) {
      await refused([...args, '--server', url], 'redirects are not followed', withToken)
    }
    expect(asked).toEqual([])
  })

  test('is not printed if it cannot be sent', async () => {
    const env = { ...cleanEnv(), RETRAI_TOKEN: 'retrai_one\nretrai_two' }
    const said = await refused(['runs', '--server', await answering([])], '[the token]', env)
    expect(said).not.toMatch(/retrai_(one|two)/)
  })
})

test('an error of the program itself is not a verdict, and its message is shown as text', async () => {
  const fault = `process.stdout.write = () => { throw new Error(${JSON.stringify(EVIL)}) }`
  const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(fault)}`
  const url = await answering([summary])
  const done = await retraiProcess(['runs', '--server', url], { ...cleanEnv(), NODE_OPTIONS })
  expect(done.code).toBe(3)
  for (const line of done.stderr.split('\n')) expect(line).not.toMatch(/\p{Cc}|\u202e/u)
})
