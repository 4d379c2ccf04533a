import { describe, expect } from 'vitest'
import { sha256 as sha256Of } from '../../../src/lib/sha256.ts'
import { ask, recordsOf } from '../../support/requests.ts'
import { CLAIM, replyWith, resultOf, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { getProblem } from './support.ts'

const test = testWith({ live: { redactedMs: 100 } })
let server: TestServer
test.beforeAll(({ server: started }) => {
  server = started
})

/** A run that waits for the result of a tool call. */
function acting(): Promise<string> {
  const calls = ['a', 'b'].map((call_id) => ({ call_id, tool: 'bash_exec', args: {} }))
  return server.createRun({}, CLAIM, replyWith(calls))
}

async function printed(runId: string, call_id: string, sha256: string | null): Promise<void> {
  // The text of a record may look like the name of an artifact.
  const output = `{"sha256":"${sha256Of('quoted')}"}`
  await server.agentDoes(runId, resultOf(call_id, 'bash_exec', { output, sha256, truncated: true }))
}

describe('an artifact', () => {
  const whole = `<script>alert(1)</script>\n${'väst '.repeat(50_000)}`

  test('is the whole output, as a file that a browser saves', async () => {
    const runId = await acting()
    const sha256 = await server.artifacts.put(whole)
    await printed(runId, 'a', sha256)
    const address = `${server.url}/api/runs/${runId}/artifacts/${sha256}`
    const answer = await fetch(address)
    expect(answer.status).toBe(200)
    expect(await answer.text()).toBe(whole)
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'content-length': String(Buffer.byteLength(whole)),
      'content-disposition': `attachment; filename="${sha256}.txt"`,
      'x-content-type-options': 'nosniff',
    })
    const head = await fetch(address, { method: 'HEAD' })
    const length = head.headers.get('content-length')
    expect([head.status, Number(length)]).toEqual([200, Buffer.byteLength(whole)])
  })

  test('is found if a record names it after the first request', async () => {
    const runId = await acting()
    const sha256 = await server.artifacts.put('later')
    const path = `/api/runs/${runId}/artifacts/${sha256}`
    expect((await getProblem(server, path)).code).toBe('artifact_not_found')
    await printed(runId, 'a', null)
    expect((await getProblem(server, path)).code).toBe('artifact_not_found')
    await printed(runId, 'b', sha256)
    expect(await (await fetch(server.url + path)).text()).toBe('later')
  })

  test('is not served for another run, or if only a text mentions it', async () => {
    const own = await acting()
    const other = await acting()
    const sha256 = await server.artifacts.put('mine')
    await server.artifacts.put('quoted')
    await printed(own, 'a', sha256)
    for (const path of [
      `/api/runs/${other}/artifacts/${sha256}`,
      `/api/runs/${own}/artifacts/${sha256Of('quoted')}`,
      `/api/runs/${own}/artifacts/${sha256.toUpperCase()}`,
      `/api/runs/${own}/artifacts/..%2F${sha256}`,
      `/api/runs/${own}/artifacts/x`,
    ]) {
      const problem = await getProblem(server, path)
      expect([path, problem.code, problem.status]).toEqual([path, 'artifact_not_found', 404])
    }
  })

  test('that is redacted in one run is not read to its end through another', async () => {
    const own = await acting()
    const other = await acting()
    const sha256 = await server.artifacts.put('x'.repeat(32 * 1024 * 1024))
    for (const runId of [own, other]) await printed(runId, 'a', sha256)
    const slow = await fetch(`${server.url}/api/runs/${other}/artifacts/${sha256}`)
    const seq = (await recordsOf(server, own)).findIndex(
      ({ record }) => record.kind === 'tool_result',
    )
    const wanted = { seq, pointer: '/output', reason: 'a password' }
    expect((await ask(server, `POST /api/runs/${own}/redact`, wanted)).status).toBe(200)
    await expect(slow.text()).rejects.toThrow('terminated')
  })

  test('without its file is reported as missing', async () => {
    const runId = await acting()
    const sha256 = sha256Of('never kept')
    await printed(runId, 'a', sha256)
    const problem = await getProblem(server, `/api/runs/${runId}/artifacts/${sha256}`)
    expect(problem.code).toBe('artifact_not_found')
    expect(problem.detail).toContain('it was redacted, or lost')
  })
})
