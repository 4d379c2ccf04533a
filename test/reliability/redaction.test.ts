import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ok } from 'neverthrow'
import { describe, expect } from 'vitest'
import * as z from 'zod'
import { signingOf } from '../../src/cli/data-folder.ts'
import { redactStrings } from '../../src/log/codec.ts'
import { decideAndAppend } from '../../src/log/decider.ts'
import { streamOf } from '../../src/log/run-log.ts'
import type { Redaction } from '../../src/redaction/redaction.ts'
import { REDACTIONS } from '../../src/redaction/redaction-index.ts'
import { retrai } from '../cli/support.ts'
import {
  is,
  printed,
  type ServeOptions,
  type Site,
  type SiteServer,
  until,
} from '../support/site.ts'
import { test } from '../support/test.ts'
import { audit, prints } from './support.ts'

/** A text that does not look like a secret, and does not occur anywhere by chance. */
const newSecret = () => `orchid-${randomBytes(9).toString('hex')}`
const run = (command: string) => ({ tool: 'bash_exec', args: { command } })

/** A run with the secret in its configuration, in the replies and calls of the model, and in outputs. */
async function runWith(site: Site, secret: string, options: ServeOptions = {}) {
  await site.write(
    'secret/.retrai.yml',
    `check_command: "test -f done || (echo ${secret}; false)"\n`,
  )
  const model = await site.model([
    { text: `I try ${secret}.`, calls: [run(`echo "is it ${secret}"`)] },
    { calls: [run(`seq 1 9000; echo ${secret}; seq 1 9000`), run('true')] },
    { text: 'Done.', calls: [run('touch done')] },
  ])
  const server = await site.serve('data', { ...options, model })
  const runId = await server.start(site.path('secret'), { max_iterations: 9 })
  await server.untilStatus(runId, 'achieved')
  return { server, runId, model }
}

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
  server: SiteServer,
  runId: string,
  seq: number,
  pointer: string,
  secret: string | null = null,
) {
  const body = { seq, pointer, reason: 'a password', secret }
  const { status, body: answer } = await server.post(`/api/runs/${runId}/redact`, body)
  expect([status, answer]).toMatchObject([200, {}])
  return Answer.parse(answer)
}

const Frames = z.array(z.looseObject({ seq: z.int(), kind: z.string(), payload: z.unknown() }))
async function framesOf(server: SiteServer, runId: string) {
  const { body } = await server.get(`/api/runs/${runId}/events?kinds=all&limit=5000`)
  return Frames.parse(body)
}

/** Redacts one place, and then all other places that the answer names. */
async function redactEverywhere(server: SiteServer, runId: string, secret: string) {
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
    // The clean copy of a run that has just ended may go meanwhile.
    if ((await stat(path).catch(() => null))?.isFile() !== true) continue
    if ((await readFile(path)).includes(text)) found.push(name)
  }
  return found
}

const Operation = z.object({
  parameters: z.array(z.object({ name: z.string() })).default([]),
  responses: z.record(
    z.string(),
    z.object({ content: z.record(z.string(), z.unknown()).default({}) }),
  ),
})
const Description = z.object({
  paths: z.record(z.string(), z.object({ get: Operation.optional() })),
})

/** How many requests are under way at a time. */
const AT_ONCE = 4
const WITHOUT_END = '/api/events text/event-stream'

/** All requests with GET, in every media type that they have, of all kinds of records, and at some records. */
async function allRequests(
  server: SiteServer,
  runId: string,
  artifact: string,
  moments: readonly number[],
) {
  const described = Description.parse((await server.get('/openapi.json')).body)
  const reads = Object.entries(described.paths).flatMap(([path, { get: operation }]) =>
    operation === undefined || path.startsWith('/api/ws') ? [] : [{ path, operation }],
  )
  expect(reads.length).toBeGreaterThan(15)
  return reads.flatMap(({ path, operation: { parameters, responses } }) => {
    const address = path.replace('{run_id}', runId).replace('{sha256}', artifact)
    const has = (wanted: string) => parameters.some(({ name }) => name === wanted)
    const queries = has('kinds') ? ['', '?kinds=all', '?kinds=all&meta=true'] : ['']
    if (has('at')) queries.push(...moments.map((seq) => `?at=${seq}`))
    if (has('from') && has('to')) queries.push(...moments.map((seq) => `?from=0&to=${seq}`))
    const types = Object.keys(responses['200']?.content ?? {})
    return types.flatMap((accept) =>
      `${path} ${accept}` === WITHOUT_END
        ? []
        : queries.map((query) => ({ address: address + query, accept })),
    )
  })
}

/** @param step 3: at every third record, there are the details of the run, its conversation and the changes of its details */
async function whereServed(
  server: SiteServer,
  runId: string,
  { artifact, secret, step }: { artifact: string; secret: string; step: number },
) {
  const { body } = await server.get(`/api/runs/${runId}`)
  const { progress } = z.object({ progress: z.object({ seq: z.int() }) }).parse(body)
  const found = new Set<string>()
  const moments = Array.from({ length: progress.seq + 1 }, (_, seq) => seq)
  const some = moments.filter((seq) => seq % step === 0)
  const all = await allRequests(server, runId, artifact, some)
  expect(all.length).toBeGreaterThan(3 * some.length)
  const requests = all.values()
  const ask = async () => {
    for (const { address, accept } of requests) {
      const signal = AbortSignal.timeout(60_000)
      const answer = await fetch(`${server.url}${address}`, { headers: { accept }, signal })
      if ((await answer.text()).includes(secret)) found.add(address)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, ask))
  const watcher = server.watch(runId)
  await watcher.closed
  if (watcher.texts.join('').includes(secret)) found.add('WebSocket')
  return [...found]
}

describe('a secret in a run', () => {
  test('is neither served nor stored anywhere after its redaction, and everything still holds', async ({
    site,
  }) => {
    const secret = newSecret()
    const { server, runId, model } = await runWith(site, secret)
    const before = await server.get(`/api/runs/${runId}/proof`)
    const etag = (await server.get(`/api/runs/${runId}`)).headers.get('etag') ?? ''
    // If it were not there, the checks below could not fail.
    expect(await filesWith(site.path('data'), secret)).not.toEqual([])
    const { artifact } = await redactEverywhere(server, runId, secret)
    expect(await whereServed(server, runId, { artifact, secret, step: 3 })).toEqual([])
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    expect((await server.get(`/api/runs/${runId}/artifacts/${artifact}`)).status).toBe(404)
    const again = await server.get(`/api/runs/${runId}`, { 'if-none-match': etag })
    expect(again.status).toBe(200)
    const proof = await server.get(`/api/runs/${runId}/proof`)
    expect(proof.body).toMatchObject({ head: before.body.head, length: before.body.length })

    const verified = await printed(['verify', '--server', server.url])
    expect(verified).toMatch(/Redacted: \d+ strings in \d+ records, and \d+ artifacts?,/)
    expect(verified).toContain('by local: a password')
    const bundle = site.path('run.tar.gz')
    await printed(['export', runId, bundle, '--server', server.url])
    expect(await printed(['verify', bundle])).toContain('a password')
    const into = ['--data-dir', site.path('other')]
    await printed(['import', bundle, ...into])
    expect(await printed(['verify', ...into])).toContain('by local: a password')
    const replayed = await printed(['replay', bundle, '--json'])
    expect(replayed).toContain('[redacted]')
    expect(replayed).not.toContain(secret)

    const details = (await server.get(`/api/runs/${runId}`)).body
    await server.stop()
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    for (const name of ['', '-wal', '-shm']) {
      await rm(site.path('data', `read-model.sqlite${name}`), { force: true })
    }
    const rebuilt = await site.serve('data', { model })
    await rebuilt.untilStatus(runId, 'achieved')
    expect((await rebuilt.get(`/api/runs/${runId}`)).body).toEqual(details)
    // A server that starts serves what its folder holds.
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    await rebuilt.stop()
    await site.withLog('data', (store) => audit(store, runId))
    expect(await printed(['verify', '--data-dir', site.path('data')])).toContain('Redacted: ')
  })

  test('is redacted with the summaries after it, which may hold it in other words', async ({
    site,
  }) => {
    const secret = newSecret()
    const inOtherWords = secret.toUpperCase()
    const model = await site.model(({ messages }) => {
      const asked = messages.at(-1)?.content ?? ''
      if (asked.includes('as text only')) return { text: `The flower is ${inOtherWords}.` }
      // It is the call that is large: an old output would be left out without a summary.
      return { calls: [run(`echo ${secret}; : ${messages.length}${'0'.repeat(4_000)}`)] }
    })
    const window = 'models: { scripted: { context_window: 8000 } }'
    const env = { RETRAI_PRICES: await site.write('models.yaml', window) }
    const server = await site.serve('data', { model, env })
    const runId = await server.start('project', { max_iterations: 1, max_turns_per_iteration: 8 })
    await server.untilStatus(runId, 'failed')
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
    expect((await server.get(`/api/runs/${runId}`)).body).toMatchObject({
      summary: { text: '[redacted]' },
    })
    await server.stop()
    expect(await filesWith(site.path('data'), inOtherWords)).toEqual([])
  })

  test('is erased at the next start if the server dies right after the record of its redaction', async ({
    site,
  }) => {
    const secret = newSecret()
    const { server, runId, model } = await runWith(site, secret)
    const frames = await framesOf(server, runId)
    await server.stop()
    const places = frames.flatMap(({ seq, payload }) =>
      pointersTo(payload, secret).map((pointer) => ({ seq, pointer })),
    )
    const cut = frames.find(({ payload }) => isCut(payload))
    const { sha256 } = z.object({ sha256: z.string() }).parse(cut?.payload)
    await site.withLog('data', async (store) => {
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
    expect(pending).toMatchObject(
      prints('is recorded, and the record does not have its commitment', 1),
    )
    const restarted = await site.serve('data', { model })
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    await restarted.stop()
    const verify = ['verify', '--data-dir', site.path('data')]
    expect(await printed(verify)).toContain('by alice: a password')
  })

  test('does not reach the model again in a run that continues', async ({ site }) => {
    const secret = newSecret()
    const asked: string[] = []
    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    const model = await site.model(async ({ turn, messages }) => {
      asked.push(JSON.stringify(messages))
      if (turn === 0) return { text: `I try ${secret}.`, calls: [run(`echo ${secret}`)] }
      if (turn === 2) return { calls: [run('touch done')] }
      reached.resolve()
      await gate.promise
      return { text: 'On.', calls: [run('true')] }
    })
    const server = await site.serve('data', { model })
    const runId = await server.start('project', { max_iterations: 9 })
    await reached.promise
    expect(asked.at(-1)).toContain(secret)
    for (const { seq, payload } of await framesOf(server, runId)) {
      for (const pointer of pointersTo(payload, secret)) await redact(server, runId, seq, pointer)
    }
    gate.resolve()
    await server.untilStatus(runId, 'achieved')
    expect(asked).toHaveLength(3)
    expect(asked.at(-1)).not.toContain(secret)
    expect(asked.at(-1)).toContain('[redacted]')
    expect(await filesWith(site.path('data'), secret)).toEqual([])
    await server.stop()
    await site.withLog('data', (store) => audit(store, runId))
  })

  test('in an EventStoreDB is hidden by all servers, and missing from a copy', async ({ site }) => {
    const secret = newSecret()
    const store = await site.standIn()
    const args = ['--store', store.connectionString]
    const { server, runId, model } = await runWith(site, secret, { store })
    const other = await site.serve('other', { model, store })
    await other.untilStatus(runId, 'achieved')
    const copy = (name: string) =>
      printed(['copy', '--from', store.connectionString, '--to', site.path(name)])
    await copy('early')
    const { artifact } = await redactEverywhere(server, runId, secret)
    const frames = await framesOf(server, runId)
    expect(frames.some(({ payload }) => holds(payload, '[redacted]'))).toBe(true)
    const body = { seq: 0, pointer: '/config/cwd', reason: 'a name' }
    const hidden = await server.post(`/api/runs/${runId}/redact`, body)
    expect(hidden.body).toMatchObject({ erased: false, pointers: ['/config/cwd'] })
    await until(async () => (await other.get(`/api/runs/${runId}`)).body.cwd, is('[redacted]'))
    expect(await whereServed(other, runId, { artifact, secret, step: 9 })).toEqual([])
    for (const name of ['data', 'other'])
      expect(await filesWith(site.path(name), secret)).toEqual([])
    expect(await printed(['verify', '--server', other.url])).toContain('Redacted: ')
    const directly = await printed(['verify', ...args])
    expect(directly).toContain('Redacted: ')
    expect(directly).toContain('it still holds the redacted texts')

    await copy('copy')
    expect(await filesWith(site.path('copy'), secret)).toEqual([])
    expect(await printed(['verify', '--data-dir', site.path('copy')])).toContain('Redacted: ')
    // An earlier copy still has the text. The server that starts on it erases the text.
    await copy('early')
    expect(await filesWith(site.path('early'), secret)).not.toEqual([])
    await site.serve('early', { model })
    expect(await filesWith(site.path('early'), secret)).toEqual([])
  })
})
