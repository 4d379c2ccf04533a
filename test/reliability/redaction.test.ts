import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ok } from 'neverthrow'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { signingOf } from '../../src/cli/data-folder.ts'
import { decideAndAppend } from '../../src/log/decider.ts'
import { redactStrings } from '../../src/log/redacted-record.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { REDACTIONS, type Redaction } from '../../src/redaction/redaction-ledger.ts'
import { retrai } from '../cli/support.ts'
import { audit, get, post, Site, start, until, untilStatus, watch, withLog } from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(() => site[Symbol.asyncDispose]())

/** A text that does not look like a secret, and does not occur anywhere by chance. */
const newSecret = () => `orchid-${randomBytes(9).toString('hex')}`
const bash = (command: string) => ({ tool: 'bash_exec', args: { command } })

/** A run with the secret in its configuration, in the replies and calls of the model, and in outputs. */
async function runWith(secret: string, server: (model: string) => Promise<ServerProcess>) {
  const model = await site.model([
    { text: `I try ${secret}.`, calls: [bash(`echo "is it ${secret}"`)] },
    { calls: [bash(`seq 1 9000; echo ${secret}; seq 1 9000`), bash('true')] },
    { text: 'Done.', calls: [bash('touch done')] },
  ])
  const started = await server(model.url)
  await site.write(
    'project/.retrai.yml',
    `check_command: "test -f done || (echo ${secret}; false)"\n`,
  )
  const runId = await start(started, site.path('project'), { max_iterations: 9 })
  await untilStatus(started, runId, 'achieved')
  return { server: started, runId, model: model.url }
}

const embedded = (model: string) => site.serve('data', { model })

const Place = z.object({ seq: z.int(), pointer: z.string(), redactable: z.boolean() })
const Answer = z.object({
  pointers: z.array(z.string()),
  artifact: z.string().nullable(),
  erased: z.boolean(),
  redaction: z.int(),
  summaries: z.array(z.int()),
  elsewhere: z.array(Place),
})

async function redact(
  server: ServerProcess,
  runId: string,
  seq: number,
  pointer: string,
  secret: string | null = null,
) {
  const body = { seq, pointer, reason: 'a password', secret }
  const { status, body: answer } = await post(server, `/api/runs/${runId}/redact`, body)
  expect([status, answer]).toMatchObject([200, {}])
  return Answer.parse(answer)
}

const Frames = z.array(z.looseObject({ seq: z.int(), kind: z.string(), payload: z.unknown() }))
async function framesOf(server: ServerProcess, runId: string) {
  const { body } = await get(server, `/api/runs/${runId}/events?kinds=all&limit=5000`)
  return Frames.parse(body)
}

/** Redacts one place, and then all other places that the answer names. */
async function redactEverywhere(server: ServerProcess, runId: string, secret: string) {
  const frames = await framesOf(server, runId)
  const call = frames.find(({ kind, payload }) => kind === 'tool_call' && holds(payload, secret))
  const first = await redact(server, runId, call?.seq ?? -1, '/args', secret)
  let artifact = ''
  for (const { seq, pointer, redactable } of first.elsewhere) {
    expect(redactable).toBe(true)
    artifact = (await redact(server, runId, seq, pointer)).artifact ?? artifact
  }
  // The whole output contains it, but not the head and tail in the record.
  const cut = frames.find(({ payload }) => isCut(payload))
  expect(holds(cut?.payload, secret)).toBe(false)
  expect(first.elsewhere).toContainEqual({ seq: cut?.seq, pointer: '/output', redactable: true })
  expect(artifact).toMatch(/^[0-9a-f]{64}$/)
  return { artifact }
}

const holds = (value: unknown, text: string): boolean => JSON.stringify(value).includes(text)
const isCut = (payload: unknown): boolean =>
  z.object({ truncated: z.literal(true) }).safeParse(payload).success

function pointersTo(value: unknown, text: string, pointer = ''): string[] {
  if (typeof value === 'string') return value.includes(text) ? [pointer] : []
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, item]) =>
    pointersTo(item, text, `${pointer}/${name}`),
  )
}

async function filesWith(folder: string, text: string): Promise<string[]> {
  const found: string[] = []
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name)
    if (!(await stat(path)).isFile()) continue
    if ((await readFile(path)).includes(text)) found.push(name)
  }
  return found
}

const Answers = z.record(
  z.string(),
  z.object({ content: z.record(z.string(), z.unknown()).optional() }),
)
const Operation = z.object({ responses: Answers })
const Description = z.object({
  paths: z.record(z.string(), z.object({ get: Operation.optional() })),
})

/** How many requests are under way at a time. */
const AT_ONCE = 4
const MEDIA_TYPES = ['application/json', 'application/x-ndjson', 'text/event-stream']

/** All requests with GET, in every media type and at every record. Those at a record are only in the media types that they have. */
async function allRequests(server: ServerProcess, runId: string, artifact: string, last: number) {
  const described = Description.parse((await get(server, '/openapi.json')).body)
  const reads = Object.entries(described.paths).flatMap(([path, { get: operation }]) =>
    operation === undefined || path.startsWith('/api/ws') ? [] : [{ path, operation }],
  )
  expect(reads.length).toBeGreaterThan(15)
  return reads.flatMap(({ path, operation }) => {
    const address = path.replace('{run_id}', runId).replace('{sha256}', artifact)
    const plain = ['', '?kinds=all', '?kinds=all&meta=true'].flatMap((query) =>
      MEDIA_TYPES.map((accept) => ({ address: address + query, accept })),
    )
    const endless = path === '/api/events' ? 'text/event-stream' : null
    const answers = plain.filter(({ accept }) => accept !== endless)
    if (!/^\/api\/runs\/\{run_id\}(\/conversation|\/diff)?$/.test(path)) return answers
    const types = Object.keys(operation.responses['200']?.content ?? {})
    expect(types).toContain('application/json')
    const at = path.endsWith('/diff') ? '?from=0&to=' : '?at='
    const moments = Array.from({ length: last + 1 }, (_, seq) => `${address}${at}${seq}`)
    return [
      ...answers,
      ...moments.flatMap((moment) => types.map((accept) => ({ address: moment, accept }))),
    ]
  })
}

async function whereServed(server: ServerProcess, runId: string, artifact: string, secret: string) {
  const { body } = await get(server, `/api/runs/${runId}`)
  const { progress } = z.object({ progress: z.object({ seq: z.int() }) }).parse(body)
  const found = new Set<string>()
  const requests = (await allRequests(server, runId, artifact, progress.seq)).values()
  const ask = async () => {
    for (const { address, accept } of requests) {
      const signal = AbortSignal.timeout(60_000)
      const answer = await fetch(`${server.url}${address}`, { headers: { accept }, signal })
      if ((await answer.text()).includes(secret)) found.add(address)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, ask))
  const watcher = watch(server, runId)
  await watcher.closed
  if (watcher.texts.join('').includes(secret)) found.add('WebSocket')
  return [...found]
}

describe('a secret in a run', () => {
  test('is neither served nor stored anywhere after its redaction, and everything still holds', async () => {
    const secret = newSecret()
    const { server, runId, model } = await runWith(secret, embedded)
    const before = await get(server, `/api/runs/${runId}/proof`)
    const etag = (await get(server, `/api/runs/${runId}`)).headers.get('etag') ?? ''
    // If it were not there, the checks below could not fail.
    expect(await filesWith(site.path('data'), secret)).not.toEqual([])
    const { artifact } = await redactEverywhere(server, runId, secret)
    expect(await whereServed(server, runId, artifact, secret)).toEqual([])
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    expect((await get(server, `/api/runs/${runId}/artifacts/${artifact}`)).status).toBe(404)
    const again = await fetch(`${server.url}/api/runs/${runId}`, {
      headers: { 'if-none-match': etag },
    })
    expect(again.status).toBe(200)
    const proof = await get(server, `/api/runs/${runId}/proof`)
    expect(proof.body).toMatchObject({ head: before.body.head, length: before.body.length })

    const verified = await retrai(['verify', '--server', server.url])
    expect(verified.stdout).toMatch(/Redacted: \d+ strings in \d+ records, and 1 artifact,/)
    expect(verified.stdout).toContain('by local: a password')
    expect(verified.code, verified.stdout).toBe(0)
    const bundle = site.path('run.tar.gz')
    await retrai(['export', runId, '-o', bundle, '--server', server.url])
    const offline = await retrai(['verify', bundle])
    expect([offline.code, offline.stdout]).toEqual([0, expect.stringContaining('a password')])
    const replayed = await retrai(['replay', bundle, '--speed', 'max', '--json'])
    expect(replayed.stdout).toContain('[redacted]')
    expect(replayed.stdout).not.toContain(secret)

    const details = (await get(server, `/api/runs/${runId}`)).body
    await server.stop()
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    for (const name of ['', '-wal', '-shm']) {
      await rm(site.path('data', `read-model.sqlite${name}`), { force: true })
    }
    const rebuilt = await site.serve('data', { model })
    await untilStatus(rebuilt, runId, 'achieved')
    expect((await get(rebuilt, `/api/runs/${runId}`)).body).toEqual(details)
    expect(await whereServed(rebuilt, runId, artifact, secret)).toEqual([])
    await rebuilt.stop()
    await withLog(site.path('data'), (store) => audit(store, runId))
    const stored = await retrai(['verify', '--data-dir', site.path('data')])
    expect([stored.code, stored.stdout]).toEqual([0, expect.stringContaining('Redacted: ')])
  })

  test('is redacted with the summaries after it, which may hold it in other words', async () => {
    const secret = newSecret()
    const inOtherWords = secret.toUpperCase()
    const model = await site.model(({ messages }) => {
      const asked = messages.at(-1)?.content ?? ''
      if (asked.includes('as text only')) return { text: `The flower is ${inOtherWords}.` }
      // It is the call that is large: an old output would be left out without a summary.
      return { calls: [bash(`echo ${secret}; : ${messages.length}${'0'.repeat(4_000)}`)] }
    })
    await site.write('models.yaml', 'models: { scripted: { context_window: 8000 } }')
    const env = { RETRAI_PRICES: site.path('models.yaml') }
    const server = await site.serve('data', { model: model.url, env })
    await site.write('project/.retrai.yml', 'check_command: test -f done')
    const limits = { max_iterations: 1, max_turns_per_iteration: 8 }
    const runId = await start(server, site.path('project'), limits)
    await untilStatus(server, runId, 'failed')
    const frames = await framesOf(server, runId)
    const summaries = frames.filter(({ payload }) => holds(payload, inOtherWords))
    expect(new Set(summaries.map(({ kind }) => kind))).toEqual(
      new Set(['context_compacted', 'run_summary']),
    )
    const output = frames.find(
      ({ kind, payload }) => kind === 'tool_result' && holds(payload, secret),
    )
    const answer = await redact(server, runId, output?.seq ?? -1, '/output')
    expect(answer.summaries).toEqual(summaries.map(({ seq }) => seq))
    expect(holds(await framesOf(server, runId), inOtherWords)).toBe(false)
    expect((await get(server, `/api/runs/${runId}`)).body).toMatchObject({
      summary: { text: '[redacted]' },
    })
    await server.stop()
    expect(await filesWith(site.path('data'), inOtherWords)).toEqual([])
  })

  test('is erased at the next start if the server dies right after the record of its redaction', async () => {
    const secret = newSecret()
    const { server, runId, model } = await runWith(secret, embedded)
    const frames = await framesOf(server, runId)
    await server.stop()
    const places = frames.flatMap(({ seq, payload }) =>
      pointersTo(payload, secret).map((pointer) => ({ seq, pointer })),
    )
    const cut = frames.find(({ payload }) => isCut(payload))
    const { sha256 } = z.object({ sha256: z.string() }).parse(cut?.payload)
    await withLog(site.path('data'), async (store) => {
      for (const { seq, pointer } of [...places, { seq: cut?.seq ?? -1, pointer: '/output' }]) {
        const options = { from: seq, direction: 'forward', limit: 1 } as const
        const [event] = (await store.readStream(streamOf(runId), options))._unsafeUnwrap()
        if (event === undefined) throw new Error('no such record')
        const { redacted } = redactStrings(event, new Set([pointer]))
        const artifact = seq === cut?.seq ? { artifact: sha256 } : {}
        const payload = { run_id: runId, seq, redacted, ...artifact, reason: 'a password' }
        const entry: Redaction = { kind: 'redacted', ts: 1_770_000_000, payload }
        const author = { commandId: `c${seq}${pointer}`, principal: 'alice' }
        const signed = { sign: signingOf(site.path('data')) }
        const entries = () => ok([entry])
        ;(await decideAndAppend(store, REDACTIONS, entries, author, signed))._unsafeUnwrap()
      }
    })
    expect(await filesWith(site.path('data'), secret)).not.toEqual([])
    const pending = await retrai(['verify', '--data-dir', site.path('data')])
    expect([pending.code, pending.stdout]).toEqual([
      1,
      expect.stringContaining('is recorded, and the record does not have its commitment'),
    ])
    const restarted = await site.serve('data', { model })
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    expect(await whereServed(restarted, runId, sha256, secret)).toEqual([])
    await restarted.stop()
    const done = await retrai(['verify', '--data-dir', site.path('data')])
    expect([done.code, done.stdout]).toEqual([0, expect.stringContaining('by alice: a password')])
  })

  test('does not reach the model again in a run that continues', async () => {
    const secret = newSecret()
    const asked: string[] = []
    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    const model = await site.model(async ({ turn, messages }) => {
      asked.push(JSON.stringify(messages))
      if (turn === 0) return { text: `I try ${secret}.`, calls: [bash(`echo ${secret}`)] }
      if (turn === 2) return { calls: [bash('touch done')] }
      reached.resolve()
      await gate.promise
      return { text: 'On.', calls: [bash('true')] }
    })
    const server = await site.serve('data', { model: model.url })
    const runId = await start(server, await site.project(), { max_iterations: 9 })
    await reached.promise
    expect(asked.at(-1)).toContain(secret)
    for (const { seq, payload } of await framesOf(server, runId)) {
      for (const pointer of pointersTo(payload, secret)) await redact(server, runId, seq, pointer)
    }
    gate.resolve()
    await untilStatus(server, runId, 'achieved')
    expect(asked).toHaveLength(3)
    expect(asked.at(-1)).not.toContain(secret)
    expect(asked.at(-1)).toContain('[redacted]')
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    await server.stop()
    await withLog(site.path('data'), (store) => audit(store, runId))
  })

  test('in an EventStoreDB is hidden by all servers, and missing from a copy', async () => {
    const secret = newSecret()
    const standIn = await site.standIn()
    const args = ['--store', standIn.connectionString]
    const { server, runId, model } = await runWith(secret, (url) =>
      site.serve('data', { model: url, args }),
    )
    const other = await site.serve('other', { model, args })
    await untilStatus(other, runId, 'achieved')
    const unredacted = await retrai([
      'copy',
      '--from',
      standIn.connectionString,
      '--to',
      site.path('early'),
    ])
    expect(unredacted.code, unredacted.stderr).toBe(0)
    const { artifact } = await redactEverywhere(server, runId, secret)
    const frames = await framesOf(server, runId)
    expect(frames.some(({ payload }) => holds(payload, '[redacted]'))).toBe(true)
    const body = { seq: 0, pointer: '/config/cwd', reason: 'a name' }
    const hidden = await post(server, `/api/runs/${runId}/redact`, body)
    expect(hidden.body).toMatchObject({ erased: false, pointers: ['/config/cwd'] })
    await until(
      async () => (await get(other, `/api/runs/${runId}`)).body.cwd,
      (cwd) => cwd === '[redacted]',
    )
    for (const each of [server, other]) {
      expect(await whereServed(each, runId, artifact, secret)).toEqual([])
    }
    for (const name of ['data', 'other'])
      expect(await filesWith(site.path(name), secret)).toEqual([])
    const verified = await retrai(['verify', '--server', other.url])
    expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining('Redacted: ')])
    const directly = await retrai(['verify', ...args])
    expect([directly.code, directly.stdout]).toEqual([0, expect.stringContaining('Redacted: ')])
    expect(directly.stdout).toContain('it still holds the redacted texts')

    const into = (name: string) => [
      'copy',
      '--from',
      standIn.connectionString,
      '--to',
      site.path(name),
    ]
    const copied = await retrai(into('copy'))
    expect(copied.code, copied.stderr).toBe(0)
    expect(await filesWith(site.path('copy'), secret)).toEqual([])
    const stored = await retrai(['verify', '--data-dir', site.path('copy')])
    expect([stored.code, stored.stdout]).toEqual([0, expect.stringContaining('Redacted: ')])
    // An earlier copy still has the text. The server that starts on it erases the text.
    const brought = await retrai(into('early'))
    expect(brought.code, brought.stderr).toBe(0)
    expect(await filesWith(site.path('early'), secret)).not.toEqual([])
    const last = await site.serve('early', { model })
    expect(await filesWith(site.path('early'), secret)).toEqual([])
    expect(await whereServed(last, runId, artifact, secret)).toEqual([])
  })

  test('that was redacted stays redacted in another data folder that imports the run', async () => {
    const secret = newSecret()
    const { server, runId } = await runWith(secret, embedded)
    const [early, late] = [site.path('early.tar.gz'), site.path('late.tar.gz')]
    const from = ['--server', server.url]
    await retrai(['export', runId, '-o', early, ...from])
    await redactEverywhere(server, runId, secret)
    await retrai(['export', runId, '-o', late, ...from])
    const into = ['--data-dir', site.path('other')]
    for (const bundle of [late, late, early]) {
      const taken = await retrai(['import', bundle, ...into])
      expect(taken.code, taken.stderr).toBe(0)
    }
    const held = await retrai(['verify', ...into])
    expect([held.code, held.stdout]).toEqual([0, expect.stringContaining('by local: a password')])
    const again = site.path('again.tar.gz')
    await retrai(['export', runId, '-o', again, ...into])
    expect((await retrai(['verify', again])).code).toBe(0)
    const first = ['--data-dir', site.path('first')]
    await retrai(['import', early, ...first])
    expect(await filesWith(site.path('first'), secret)).not.toEqual([])
    await retrai(['import', late, ...first])
    await site.serve('first')
    expect(await filesWith(site.path('first'), secret)).toEqual([])
  })
})
