import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { findGoal } from '../../../src/agent/goals/catalogue.ts'
import type { GoalOptions } from '../../../src/domain/run-config.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { isMissing } from '../../support/missing.ts'
import { workspaceOf } from '../../workspace/support.ts'
import { configOf, programs, project, withPath } from './support.ts'

const withCurl = test.skipIf(isMissing('curl'))

const SERVER = `
import { createServer } from 'node:http'
console.error('the server has started')
createServer(async (request, response) => {
  let body = ''
  for await (const piece of request) body += piece
  const status = request.url === '/bad' ? 500 : 200
  response.writeHead(status).end([request.method, request.url, request.headers['content-type'], body].join(' '))
}).listen(Number(process.argv[2]), '127.0.0.1')
`

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function apiTest(goal_options: GoalOptions, run = runCommand) {
  const cwd = await project({ 'server.mjs': SERVER })
  return findGoal('api-test')?.check({
    config: { ...configOf('api-test', cwd), goal_options },
    signal: new AbortController().signal,
    ...{ runCommand: run, files: workspaceOf(cwd), reportsDir: cwd },
  })
}

async function started() {
  const port = await freePort()
  const start = `"${process.execPath}" server.mjs ${port}`
  return { start, url: `http://127.0.0.1:${port}` }
}

withCurl('a server is started, answers the requests, and is stopped', async () => {
  const server = await started()
  const requests = [
    { path: '/a?b=1', body_contains: 'GET /a?b=1' },
    {
      method: 'POST',
      path: '/items',
      body: '{"n": 1}',
      body_contains: 'application/json {"n": 1}',
    },
    { path: '/bad', status: 500 },
  ]
  const judged = await apiTest({ ...server, requests })
  expect(judged).toMatchObject({
    ...{ verdict: 'achieved', reason: 'All 3 requests got the expected answer' },
  })
  await expect(fetch(server.url)).rejects.toThrow()
})

withCurl(
  'each request with another answer is named, with its body and what the server printed',
  async () => {
    const requests = [{ path: '/bad' }, { path: '/ok' }, { path: '/ok', body_contains: 'missing' }]
    const judged = await apiTest({ ...(await started()), requests })
    expect(judged?.reason).toBe(
      '2 of 3 requests failed: GET /bad: status 500 instead of 200; GET /ok: "missing" is not in the body',
    )
    expect(judged?.details).toContain('GET /bad')
    expect(judged?.details).toContain('the server has started')
  },
)

withCurl('a server that ends before it answers is a verdict with its last words', async () => {
  const { url } = await started()
  const requests = [{ path: '/' }]
  const judged = await apiTest({ start: 'echo no database >&2; exit 7', url, requests })
  expect(judged?.verdict).toBe('not_achieved')
  expect(judged?.reason).toBe('The server ended with exit code 7 before it answered: no database')
})

withCurl('a server that does not answer in time is a verdict', async () => {
  const { url } = await started()
  const judged = await apiTest({
    ...{ start: 'sleep 1000', url, requests: [{ path: '/' }], ready_within_seconds: 1 },
  })
  expect(judged?.reason).toBe(`The server did not answer at ${url} within 1 s`)
})

withCurl('without a start command, requests go to what runs already', async () => {
  const { url } = await started()
  const judged = await apiTest({ url, requests: [{ path: '/' }] })
  expect(judged?.reason).toMatch(/^1 of 1 request failed: GET \/: no answer \(curl: .*onnect/)
})

test('without curl, the goal cannot be checked', async () => {
  const folder = await programs({ bash: 'exec /bin/bash "$@"' })
  const judged = await apiTest({ requests: [{ path: '/' }] }, withPath(folder))
  expect(judged?.verdict).toBe('cannot_check')
  expect(judged?.reason).toMatch(/^curl is not installed/)
})
