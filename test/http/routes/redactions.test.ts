import { randomUUID } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { errAsync, ok } from 'neverthrow'
import { describe, expect } from 'vitest'
import * as z from 'zod'
import { redactStrings } from '../../../src/log/codec.ts'
import { decideAndAppend } from '../../../src/log/decider.ts'
import { runIdOf, streamOf } from '../../../src/log/run-log.ts'
import { eventAt } from '../../../src/log/stream-pages.ts'
import type { Redaction } from '../../../src/redaction/redaction.ts'
import { REDACTIONS } from '../../../src/redaction/redaction-index.ts'
import { SUBAGENT_ID, siblingsOf } from '../../support/family.ts'
import { problem, ask as request } from '../../support/requests.ts'
import {
  bound,
  CLAIM,
  iteration,
  replyWith,
  resultOf,
  type TestServer,
} from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { getPage } from '../history/support.ts'

const SECRET = 'orchid-on-the-sill'

let server: TestServer
test.beforeAll(({ server: started }) => {
  server = started
})

/** A run in the middle of its work: the call with seq 6 has no result yet, and one more call will follow. */
async function runAtWork(): Promise<string> {
  const runId = await server.createRun({ reason: `because of ${SECRET}` })
  const args = { command: SECRET, n: 1 }
  const calls = ['a', 'b'].map((call_id) => ({ call_id, tool: 'bash_exec', args }))
  await server.agentDoes(runId, CLAIM, replyWith(calls, { text: SECRET }))
  return runId
}

/** Both calls end. */
const RESULTS = ['a', 'b'].map((id) => resultOf(id, 'bash_exec', { output: `it prints ${SECRET}` }))

async function endedRun(): Promise<string> {
  const runId = await runAtWork()
  await server.agentDoes(runId, ...RESULTS, ...iteration(true).slice(1))
  expect(await server.readModel.waitFor(runId, 13, 10_000)).toBe(true)
  return runId
}

const ask = (runId: string, body: object) =>
  request(server, `POST /api/runs/${runId}/redact`, { reason: 'a password', ...body })

const Done = z.object({
  pointers: z.array(z.string()),
  redaction: z.int(),
  erased: z.boolean(),
  elsewhere: z.array(z.object({ seq: z.int(), pointer: z.string(), redactable: z.boolean() })),
})
async function redact(runId: string, seq: number, pointer: string) {
  const { status, body } = await ask(runId, { seq, pointer })
  expect([status, body]).toMatchObject([200, {}])
  return Done.parse(body)
}

async function eventOf(runId: string, seq: number) {
  const event = (await eventAt(server.store, streamOf(runId), seq))._unsafeUnwrap()
  if (event === null) throw new Error(`there is no record ${seq}`)
  return event
}

const framesOf = async (runId: string) =>
  (await getPage(server, `/api/runs/${runId}/events?kinds=all`)).frames

describe('a text that was redacted', () => {
  test('is redacted in its place, and the answer names its other places', async () => {
    const runId = await endedRun()
    const done = await redact(runId, 6, '/args/command')
    expect(done).toMatchObject({ pointers: ['/args/command'], erased: true })
    expect(done.elsewhere).toContainEqual({ seq: 0, pointer: '/reason', redactable: true })
    expect(done.elsewhere).toContainEqual({ seq: 4, pointer: '/text', redactable: true })
    expect(done.elsewhere).toContainEqual({ seq: 7, pointer: '/output', redactable: true })
    expect(done.elsewhere).not.toContainEqual(expect.objectContaining({ seq: 6 }))
    const before = await framesOf(runId)
    expect(before[6]).toMatchObject({
      payload: { args: { command: '[redacted]', n: 1 }, tool: 'bash_exec' },
    })
    for (const { seq, pointer } of done.elsewhere) await redact(runId, seq, pointer)
    // All texts of an object.
    const { pointers } = await redact(runId, 4, '/tool_calls/0/args')
    expect(pointers).toEqual(['/tool_calls/0/args/command'])
    expect(JSON.stringify(await framesOf(runId))).not.toContain(SECRET)
    const conversation = await request(server, `GET /api/runs/${runId}/conversation`)
    expect(conversation.text).not.toContain(SECRET)
  })

  test('may contain the secret, which is then what the server looks for elsewhere', async () => {
    const runId = await endedRun()
    const asked = { seq: 7, pointer: '/output', reason: 'a password' }
    const whole = await redact(runId, 7, '/output')
    expect(whole.elsewhere).toEqual([{ seq: 9, pointer: '/output', redactable: true }])
    const part = await ask(runId, { ...asked, seq: 9, secret: SECRET })
    const { elsewhere } = Done.parse(part.body)
    expect(elsewhere.map(({ seq }) => seq)).toEqual([0, 4, 4, 4, 6, 8])
  })

  test('is redacted once: a repeated request has the same answer', async () => {
    const runId = await endedRun()
    const first = await redact(runId, 7, '/output')
    expect(await redact(runId, 7, '/output')).toEqual({ ...first, elsewhere: [] })
    const listed = await request(server, `GET /api/runs/${runId}/redactions`)
    expect(listed.body).toEqual([
      expect.objectContaining({
        redaction: first.redaction,
        principal: 'local',
        reason: 'a password',
        seq: 7,
        pointers: ['/output'],
      }),
    ])
  })

  test('is redacted in a summary that was written before the server stopped in the middle of the first request', async () => {
    const runId = await runAtWork()
    await server.agentDoes(runId, ...RESULTS)
    const event = await eventOf(runId, 7)
    const { redacted } = redactStrings(event, new Set(['/output']))
    const payload = { run_id: runId, seq: 7, redacted, reason: 'a password' }
    const entry: Redaction = { kind: 'redacted', ts: 1_800_000_000, payload }
    const author = { commandId: randomUUID() }
    const first = await decideAndAppend(server.store, REDACTIONS, () => ok([entry]), author)
    await server.agentDoes(runId, ...iteration(false).slice(1), {
      type: 'record',
      made: {
        context_compacted: {
          turns: 1,
          up_to: 7,
          summary: `It prints ${SECRET}`,
          model_name: 'gpt-5-mini',
          cost_usd: null,
          tokens_before: 2,
          tokens_after: 1,
        },
      },
    })
    const repeated = { seq: 7, pointer: '/output', reason: `it was ${SECRET}` }
    const answer = (await ask(runId, repeated)).body
    const frames = await framesOf(runId)
    const summary = frames.find(({ kind }) => kind === 'context_compacted')
    expect(summary).toMatchObject({ payload: { summary: '[redacted]' } })
    const { revision } = first._unsafeUnwrap()
    expect(answer).toMatchObject({ redaction: revision, summaries: [summary?.seq], erased: true })
    const listed = await request(server, `GET /api/runs/${runId}/redactions`)
    expect(listed.body).toMatchObject([
      { seq: 7, reason: 'a password' },
      { seq: summary?.seq, reason: 'a password' },
    ])
  })

  test('changes the ETag of the run', async () => {
    const runId = await endedRun()
    const read = (tag: string) =>
      request(server, `GET /api/runs/${runId}`, undefined, { 'if-none-match': tag })
    const before = (await read('')).headers.get('etag') ?? ''
    expect((await read(before)).status).toBe(304)
    await redact(runId, 7, '/output')
    const after = await read(before)
    expect(after.status).toBe(200)
    expect((await read(after.headers.get('etag') ?? '')).status).toBe(304)
  })
})

test('a redaction in a sub-agent changes the ETag of the run that waits for it', async ({
  ownServer: own,
}) => {
  const events = siblingsOf()
  for (const stream of new Set(events.map((event) => event.stream))) {
    const ofStream = events.filter((event) => event.stream === stream)
    ;(await own.store.append(stream, ofStream, { expectedRevision: 'no_stream' }))._unsafeUnwrap()
  }
  const [parent, child] = ['', SUBAGENT_ID.slice(0, -1)].map((id) =>
    events.find(({ stream }) => stream.startsWith(streamOf(id))),
  )
  if (parent === undefined || child === undefined) throw new Error('a run with a sub-agent')
  expect(await own.readModel.waitFor(runIdOf(child.stream), 1, 10_000)).toBe(true)
  const path = `GET /api/runs/${runIdOf(parent.stream)}`
  const etag = (await request(own, path)).headers.get('etag') ?? ''
  const known = { 'if-none-match': etag }
  const status = async () => (await request(own, path, undefined, known)).status
  expect([etag, await status()]).toEqual([expect.stringContaining('+'), 304])
  const { redacted } = redactStrings(child, new Set(['/instructions']))
  const payload = { run_id: runIdOf(child.stream), seq: 0, redacted, reason: 'a password' }
  const entry: Redaction = { kind: 'redacted', ts: 1_800_000_000, payload }
  const author = { commandId: randomUUID() }
  const taken = await decideAndAppend(own.store, REDACTIONS, () => ok([entry]), author)
  expect(taken.isOk()).toBe(true)
  await expect.poll(status).toBe(200)
})

describe('a redaction is refused', () => {
  test('for fields that the log needs, for values that are not texts, for missing records, and if its reason holds the text', async () => {
    const runId = await endedRun()
    const telling = { seq: 6, pointer: '/args/command', reason: `it was ${SECRET}!` }
    for (const [wanted, status, says] of [
      [{ seq: 7, pointer: '/tool' }, 422, 'needs /tool of a tool_result'],
      [{ seq: 7, pointer: '/call_id' }, 422, 'needs /call_id of a tool_result'],
      [{ seq: 7, pointer: '/outcome' }, 422, 'needs /outcome of a tool_result'],
      [{ seq: 7, pointer: '/bytes' }, 422, 'no text at'],
      [{ seq: 7, pointer: '/nothing' }, 422, 'no text at'],
      [{ seq: 7, pointer: '/output/0' }, 422, 'no text at'],
      [{ seq: 7, pointer: '' }, 422, 'name the texts below'],
      [{ seq: 7, pointer: 'output' }, 422, 'must be a JSON pointer'],
      [{ seq: 99, pointer: '/output' }, 404, 'no record with this seq'],
      [telling, 422, 'Leave that text out'],
      [{ ...telling, reason: ' ' }, 422, 'reason must not be empty'],
    ] as const) {
      const refused = await ask(runId, wanted)
      expect([wanted, refused.status]).toEqual([wanted, status])
      expect(refused.body.detail).toContain(says)
    }
    const nowhere = '550e8400-e29b-41d4-a716-446655440000'
    expect((await ask(nowhere, { seq: 0, pointer: '' })).body).toMatchObject(
      problem('run_not_found'),
    )
    expect(JSON.stringify(await framesOf(runId))).not.toContain('[redacted]')
  })

  test('for texts that the run has yet to act on, and not for others', async () => {
    const runId = await runAtWork()
    for (const [seq, pointer] of [
      [0, '/reason'],
      [4, '/tool_calls/1/args'],
      [6, '/args/command'],
    ] as const) {
      const refused = await ask(runId, { seq, pointer })
      expect(refused).toMatchObject({ status: 409, body: problem('still_needed') })
    }
    await server.agentDoes(runId, ...RESULTS)
    await redact(runId, 6, '/args/command')
    await redact(runId, 4, '/tool_calls/1/args')
    await server.agentDoes(runId, ...iteration(true).slice(1))
    await redact(runId, 0, '/reason')
  })
})

test('an export during a redaction is refused, and the next one is without the redacted text', async ({
  startServer,
}) => {
  let length = -1
  let isRedacted = false
  const slow: TestServer = await startServer({
    wrapStore: (store) => ({
      ...bound(store),
      readStream: (stream, options) => {
        const read = store.readStream(stream, options)
        // Only an export reads a whole run by its length.
        if (!stream.startsWith('run-') || options.limit !== length || isRedacted) return read
        isRedacted = true
        return read.map(async (events) => {
          const redaction = { seq: 0, pointer: '/reason', reason: 'a password' }
          await request(slow, `POST /api/runs/${runIdOf(stream)}/redact`, redaction)
          return events
        })
      },
    }),
  })
  const runId = await slow.createRun({ reason: SECRET }, CLAIM, ...iteration(true))
  await expect.poll(() => slow.readModel.get(runId)?.state.phase.type).toBe('ended')
  length = (slow.readModel.get(runId)?.state.seq ?? 0) + 1
  const refused = await request(slow, `GET /api/runs/${runId}/export`)
  expect(refused).toMatchObject({ status: 409, body: problem('redacted_meanwhile') })
  expect(refused.headers.get('content-disposition')).toBeNull()
  const answer = await fetch(`${slow.url}/api/runs/${runId}/export`)
  const content = gunzipSync(Buffer.from(await answer.arrayBuffer())).toString()
  expect(content).toContain('redactions.ndjson')
  expect(content).not.toContain(SECRET)
})

test('a redaction that is recorded is never said to be undone, and is completed by the same request', async ({
  startServer,
}) => {
  let scans = 0
  // It looks for summaries after the record: before the redaction is recorded, and again afterwards.
  const own = await startServer({
    wrapStore: (store) => ({
      ...bound(store),
      readStream: (stream, options) => {
        if (options.from === 1) scans += 1
        return options.from === 1 && scans === 2
          ? errAsync({ type: 'store_unavailable', message: 'refused' })
          : store.readStream(stream, options)
      },
    }),
  })
  const runId = await own.createRun({ reason: `because of ${SECRET}` })
  const calls = ['a', 'b'].map((call_id) => ({ call_id, tool: 'bash_exec', args: {} }))
  await own.agentDoes(runId, CLAIM, replyWith(calls), ...RESULTS, ...iteration(true).slice(1))
  const body = { seq: 0, pointer: '/reason', reason: 'a password' }
  const send = () => request(own, `POST /api/runs/${runId}/redact`, body)
  expect(await send()).toMatchObject({ status: 503, body: problem('redaction_pending') })
  expect(await send()).toMatchObject({ status: 200, body: { pointers: ['/reason'] } })
})
