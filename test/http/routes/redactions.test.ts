import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { ok } from 'neverthrow'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import * as z from 'zod'
import { unpacked } from '../../../src/audit/bundle/tar.ts'
import { decideAndAppend } from '../../../src/log/decider.ts'
import { redactStrings } from '../../../src/log/redacted-record.ts'
import { runIdOf, streamOf } from '../../../src/log/run-log.ts'
import { eventAt } from '../../../src/log/stream-pages.ts'
import { REDACTIONS, type Redaction } from '../../../src/redaction/redaction-ledger.ts'
import { SUBAGENT_ID, siblingsOf } from '../../support/family.ts'
import { FeedWatcher } from '../history/feed-watcher.ts'
import { getPage } from '../history/support.ts'
import { Watcher } from '../live/watcher.ts'
import {
  agentDoes,
  bound,
  CLAIM,
  createRun,
  iteration,
  json,
  startTestServer,
  type TestServer,
} from '../support.ts'

const SECRET = 'orchid-on-the-sill'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.stop())

/** A run in the middle of its work: the call with seq 6 has no result yet, and one more call will follow. */
async function runAtWork(): Promise<string> {
  const runId = await createRun(server, { reason: `because of ${SECRET}` })
  const usage = { input_tokens: 1, output_tokens: 1, cost_usd: 0, model_name: 'gpt-5-mini' }
  const call = (call_id: string) => ({
    call_id,
    tool: 'bash_exec',
    args: { command: SECRET, n: 1 },
  })
  await agentDoes(server, runId, CLAIM, {
    type: 'record_reply',
    usage: { ...usage, duration_ms: 1, omitted_turns: 0 },
    message: { text: SECRET, tool_calls: [call('a'), call('b')], finish_reason: 'tool_calls' },
  })
  return runId
}

const RESULT = {
  output: `it prints ${SECRET}`,
  exit_code: 0,
  outcome: 'ok',
  duration_ms: 1,
  bytes: 5,
  truncated: false,
  sha256: null,
} as const

async function endedRun(): Promise<string> {
  const runId = await runAtWork()
  for (const call_id of ['a', 'b']) {
    const result = { call_id, tool: 'bash_exec', ...RESULT }
    await agentDoes(server, runId, { type: 'record_tool_result', result })
  }
  await agentDoes(server, runId, ...iteration(true).slice(1))
  expect(await server.readModel.waitFor(runId, 13, 10_000)).toBe(true)
  return runId
}

const ask = (runId: string, body: object) =>
  fetch(`${server.url}/api/runs/${runId}/redact`, json('POST', { reason: 'a password', ...body }))

const Done = z.object({
  pointers: z.array(z.string()),
  redaction: z.int(),
  erased: z.boolean(),
  elsewhere: z.array(z.object({ seq: z.int(), pointer: z.string(), redactable: z.boolean() })),
})
async function redact(runId: string, seq: number, pointer: string) {
  const answer = await ask(runId, { seq, pointer })
  const body: unknown = await answer.json()
  expect([answer.status, body]).toMatchObject([200, {}])
  return Done.parse(body)
}

const Problem = z.object({ type: z.string(), detail: z.string() })
async function refusal(runId: string, body: object) {
  const answer = await ask(runId, body)
  const { type, detail } = Problem.parse(await answer.json())
  return { status: answer.status, code: type.replace('urn:retrai:problem:', ''), detail }
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
    expect(JSON.stringify(await framesOf(runId))).not.toContain(SECRET)
    const conversation = await fetch(`${server.url}/api/runs/${runId}/conversation`)
    expect(await conversation.text()).not.toContain(SECRET)
  })

  test('may contain the secret, which is then what the server looks for elsewhere', async () => {
    const runId = await endedRun()
    const asked = { seq: 7, pointer: '/output', reason: 'a password' }
    const whole = Done.parse(await (await ask(runId, asked)).json())
    expect(whole.elsewhere).toEqual([{ seq: 9, pointer: '/output', redactable: true }])
    const part = await ask(runId, { ...asked, seq: 9, secret: SECRET })
    const { elsewhere } = Done.parse(await part.json())
    expect(elsewhere.map(({ seq }) => seq)).toEqual([0, 4, 4, 4, 6, 8])
    const telling = { ...asked, seq: 0, pointer: '/reason', secret: SECRET, reason: SECRET }
    expect((await refusal(runId, telling)).detail).toContain('Give a reason without that text')
  })

  test('may be an object of texts, from the payload or from the frame', async () => {
    const runId = await endedRun()
    expect((await redact(runId, 4, '/payload/tool_calls/0/args')).pointers).toEqual([
      '/tool_calls/0/args/command',
    ])
    expect((await redact(runId, 7, '/payload/output')).pointers).toEqual(['/output'])
  })

  test('is redacted once: a repeated request has the same answer', async () => {
    const runId = await endedRun()
    const first = await redact(runId, 7, '/output')
    expect(await redact(runId, 7, '/output')).toEqual({ ...first, elsewhere: [] })
    const listed = await fetch(`${server.url}/api/runs/${runId}/redactions`)
    expect(await listed.json()).toEqual([
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
    for (const call_id of ['a', 'b']) {
      const result = { call_id, tool: 'bash_exec', ...RESULT }
      await agentDoes(server, runId, { type: 'record_tool_result', result })
    }
    const event = await eventOf(runId, 7)
    const { redacted } = redactStrings(event, new Set(['/output']))
    const payload = { run_id: runId, seq: 7, redacted, reason: 'a password' }
    const entry: Redaction = { kind: 'redacted', ts: 1_800_000_000, payload }
    const author = { commandId: randomUUID() }
    const first = await decideAndAppend(server.store, REDACTIONS, () => ok([entry]), author)
    await agentDoes(server, runId, ...iteration(false).slice(1), {
      ...{ type: 'record_compaction', usage: null },
      compaction: {
        ...{ turns: 1, up_to: 7, summary: `It prints ${SECRET}`, model_name: 'gpt-5-mini' },
        ...{ cost_usd: null, tokens_before: 2, tokens_after: 1 },
      },
    })
    const repeated = { seq: 7, pointer: '/output', reason: `it was ${SECRET}` }
    const answer: unknown = await (await ask(runId, repeated)).json()
    const frames = await framesOf(runId)
    const summary = frames.find(({ kind }) => kind === 'context_compacted')
    expect(summary).toMatchObject({ payload: { summary: '[redacted]' } })
    const { revision } = first._unsafeUnwrap()
    expect(answer).toMatchObject({ redaction: revision, summaries: [summary?.seq], erased: true })
    const listed = await fetch(`${server.url}/api/runs/${runId}/redactions`)
    expect(await listed.json()).toMatchObject([
      { seq: 7, reason: 'a password' },
      { seq: summary?.seq, reason: 'a password' },
    ])
  })

  test('names, in an imported run, who redacted it in its first log', async () => {
    const runId = await endedRun()
    const event = await eventOf(runId, 7)
    const origin = { hash: 'a'.repeat(64), ts: 1_771_416_193.25, principal: 'alice' }
    const { redacted } = redactStrings(event, new Set(['/output']))
    const payload = { run_id: runId, seq: 7, redacted, reason: 'a password', origin }
    const entry: Redaction = { kind: 'redacted', ts: 1_800_000_000, payload }
    const taken = await decideAndAppend(server.store, REDACTIONS, () => ok([entry]), {
      commandId: randomUUID(),
    })
    expect(taken.isOk()).toBe(true)
    const list = async () =>
      (await fetch(`${server.url}/api/runs/${runId}/redactions`)).json() as Promise<unknown>
    await expect.poll(list).toMatchObject([{ principal: 'alice', ts: origin.ts, seq: 7 }])
  })

  test('is not sent to observers that join later, and earlier observers continue', async () => {
    const runId = await runAtWork()
    const watcher = new Watcher(server, `${runId}?kinds=all`)
    const feed = new FeedWatcher(server, `run_id=${runId}&kinds=all`)
    await Promise.all([watcher.have(7), feed.have(7)])
    const answer = (call_id: string) => {
      const result = { call_id, tool: 'bash_exec', ...RESULT }
      return agentDoes(server, runId, { type: 'record_tool_result', result })
    }
    await answer('a')
    await Promise.all([watcher.have(9), feed.have(9)])
    await redact(runId, 7, '/output')
    const late = new Watcher(server, `${runId}?kinds=all&after=6`)
    const lateFeed = new FeedWatcher(server, `run_id=${runId}&kinds=all`)
    await Promise.all([late.have(2), lateFeed.have(9)])
    for (const frame of [late.frames[0], lateFeed.frames[7]]) {
      expect(frame).toMatchObject({ seq: 7, payload: { output: '[redacted]' } })
    }
    await answer('b')
    await Promise.all([watcher.have(11), feed.have(11), late.have(4), lateFeed.have(11)])
    expect(watcher.seqs).toEqual(Array.from({ length: watcher.seqs.length }, (_, seq) => seq))
    for (const each of [watcher, feed, late, lateFeed]) each.socket.close()
  })

  test('changes the ETag of the run, now and at each record', async () => {
    const runId = await endedRun()
    const addresses = ['', '?at=9', '/diff?from=0&to=9'].map(
      (end) => `${server.url}/api/runs/${runId}${end}`,
    )
    const tags = await Promise.all(
      addresses.map(async (address) => (await fetch(address)).headers.get('etag') ?? ''),
    )
    const known = (tag = '') => ({ headers: { 'if-none-match': tag } })
    for (const [i, address] of addresses.entries()) {
      expect((await fetch(address, known(tags[i]))).status).toBe(304)
    }
    await redact(runId, 7, '/output')
    for (const [i, address] of addresses.entries()) {
      const fresh = await fetch(address, known(tags[i]))
      expect(fresh.status, address).toBe(200)
      expect((await fetch(address, known(fresh.headers.get('etag') ?? ''))).status).toBe(304)
    }
  })
})

test('a redaction in a sub-agent changes the ETag of the run that waits for it', async () => {
  const own = await startTestServer()
  onTestFinished(() => own.stop())
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
  const address = `${own.url}/api/runs/${runIdOf(parent.stream)}`
  const etag = (await fetch(address)).headers.get('etag') ?? ''
  const status = async () => (await fetch(address, { headers: { 'if-none-match': etag } })).status
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
  test('for fields that the log needs, for values that are not texts, and for missing records', async () => {
    const runId = await endedRun()
    const needed = ['/tool', '/call_id', '/outcome']
    for (const pointer of needed) {
      const refused = await refusal(runId, { seq: 7, pointer })
      expect(refused).toMatchObject({ status: 422, code: 'invalid_request' })
      expect(refused.detail).toContain(`needs ${pointer} of a tool_result`)
    }
    for (const pointer of ['/bytes', '/nothing', '/output/0']) {
      expect((await refusal(runId, { seq: 7, pointer })).detail).toContain('no text at')
    }
    expect((await refusal(runId, { seq: 7, pointer: '' })).detail).toContain('name the texts below')
    expect(await refusal(runId, { seq: 7, pointer: 'output' })).toMatchObject({ status: 422 })
    expect(await refusal(runId, { seq: 99, pointer: '/output' })).toMatchObject({
      status: 404,
      code: 'record_not_found',
    })
    const nowhere = '550e8400-e29b-41d4-a716-446655440000'
    expect(await refusal(nowhere, { seq: 0, pointer: '' })).toMatchObject({ code: 'run_not_found' })
    expect(JSON.stringify(await framesOf(runId))).not.toContain('[redacted]')
  })

  test('if the secret is too short to look for', async () => {
    const runId = await endedRun()
    const short = { seq: 7, pointer: '/output', secret: 'abc' }
    expect((await refusal(runId, short)).detail).toBe('secret must have at least 4 characters.')
  })

  test('if its reason holds the text, or it has no reason', async () => {
    const runId = await endedRun()
    const telling = { seq: 6, pointer: '/args/command', reason: `it was ${SECRET}!` }
    expect((await refusal(runId, telling)).detail).toContain('Give a reason without that text')
    expect(await refusal(runId, { ...telling, reason: ' ' })).toMatchObject({ status: 422 })
  })

  test('for texts that the run has yet to act on, and not for others', async () => {
    const runId = await runAtWork()
    for (const [seq, pointer] of [
      [0, '/reason'],
      [4, '/tool_calls/1/args'],
      [6, '/args/command'],
    ] as const) {
      const refused = await refusal(runId, { seq, pointer })
      expect(refused).toMatchObject({ status: 409, code: 'still_needed' })
    }
    for (const call_id of ['a', 'b']) {
      const result = { call_id, tool: 'bash_exec', ...RESULT }
      await agentDoes(server, runId, { type: 'record_tool_result', result })
    }
    await redact(runId, 6, '/args/command')
    await redact(runId, 4, '/tool_calls/1/args')
    await agentDoes(server, runId, ...iteration(true).slice(1))
    await redact(runId, 0, '/reason')
  })
})

describe('an export during a redaction', () => {
  /** The export of a run. `meanwhile` runs after each reading of its records, before they are exported. */
  async function exportDuring(
    meanwhile: (url: string, runId: string, readings: number) => Promise<void>,
  ) {
    let length = -1
    let readings = 0
    const slow: TestServer = await startTestServer({
      wrapStore: (store) => ({
        ...bound(store),
        readStream: (stream, options) => {
          const read = store.readStream(stream, options)
          // Only an export reads a whole run by its length.
          const isExport = stream.startsWith('run-') && options.limit === length
          if (!isExport) return read
          readings += 1
          return read.map(async (events) => {
            await meanwhile(slow.url, stream.slice('run-'.length), readings)
            return events
          })
        },
      }),
    })
    try {
      const runId = await createRun(slow, { reason: SECRET })
      await agentDoes(slow, runId, CLAIM, ...iteration(true))
      await expect.poll(() => slow.readModel.get(runId)?.state.phase.type).toBe('ended')
      length = (slow.readModel.get(runId)?.state.seq ?? 0) + 1
      const answer = await fetch(`${slow.url}/api/runs/${runId}/export`)
      const body = Buffer.from(await answer.arrayBuffer())
      return { answer, body, readings }
    } finally {
      await slow.stop()
    }
  }

  async function redactOn(url: string, runId: string, seq: number, pointer: string) {
    const redaction = json('POST', { seq, pointer, reason: 'a password' })
    expect((await fetch(`${url}/api/runs/${runId}/redact`, redaction)).status).toBe(200)
  }

  test('is repeated, without the redacted text', async () => {
    const { answer, body, readings } = await exportDuring(async (url, runId, reading) => {
      if (reading === 1) await redactOn(url, runId, 0, '/reason')
    })
    expect([answer.status, readings]).toEqual([200, 2])
    const files = []
    for await (const { path, body: content } of unpacked(Readable.from([body]))) {
      files.push(path)
      const chunks = []
      for await (const chunk of content) chunks.push(chunk)
      expect(Buffer.concat(chunks).toString()).not.toContain(SECRET)
    }
    expect(files).toContain('redactions.ndjson')
  })

  test('is refused if something else is redacted each time', async () => {
    const places = [
      [0, '/reason'],
      [0, '/system_prompt'],
      [0, '/config/cwd'],
      [1, '/host'],
      [4, '/text'],
    ] as const
    const { answer, body, readings } = await exportDuring(async (url, runId, reading) => {
      const [seq, pointer] = places[reading - 1] ?? [0, '']
      await redactOn(url, runId, seq, pointer)
    })
    expect([answer.status, readings]).toEqual([409, places.length])
    expect(JSON.parse(body.toString()).type).toBe('urn:retrai:problem:redacted_meanwhile')
    expect(answer.headers.get('content-disposition')).toBeNull()
  })
})
