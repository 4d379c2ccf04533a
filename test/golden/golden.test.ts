import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { fold } from '../../src/domain/evolve.ts'
import { ALL_KINDS, EndStatus, type RunRecord } from '../../src/domain/records.ts'
import { decode } from '../../src/log/codec.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { runDetails } from '../../src/queries/run-details.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { NewEvent } from '../../src/store/event-store.ts'
import { chainProblems } from '../chaos/chain.ts'
import { Client } from '../chaos/client.ts'
import { eventsInFile } from '../chaos/evidence.ts'
import { violations } from '../chaos/invariants.ts'
import { Server } from '../chaos/server-process.ts'
import { watch } from '../chaos/watch.ts'
import { type Golden, type GoldenEvent, goldenLogs } from './golden.ts'

const LOGS = goldenLogs()
const records = (golden: Golden) => golden.events.map(({ data }) => data as unknown as RunRecord)
/** A run whose last record is of these kinds waits for a person. */
const WAITS: ReadonlySet<string> = new Set(['human_check_required', 'approval_required'])
const hasEnded = (golden: Golden) => golden.events.at(-1)?.type === 'run_end'

const asWritten = ({ id, type, data, metadata }: GoldenEvent): NewEvent => {
  return { id, type, data: JSON.stringify(data), metadata: JSON.stringify(metadata) }
}

const stored = ({ events }: Golden) => events.map((event) => ({ ...event, ...asWritten(event) }))

describe('the golden logs', () => {
  test('hold every kind of record, every end, and every way in which a call can end', () => {
    const all = LOGS.flatMap(records)
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(ALL_KINDS))
    const ends = all.flatMap((r) => (r.kind === 'run_end' ? [r.payload.status] : []))
    expect(new Set(ends)).toEqual(new Set(EndStatus.options))
    const outcomes = all.flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))
    expect(new Set(outcomes)).toEqual(
      new Set(['ok', 'error', 'rejected', 'denied', 'timed_out', 'aborted', 'unknown']),
    )
  })

  test.each(LOGS)('$name: is read and folded to the same state as ever', (golden) => {
    const { runId, meaning } = golden
    const read = stored(golden).map((event) =>
      decode({ ...event, stream: streamOf(runId), position: '', created: 0 })._unsafeUnwrap(),
    )
    const state = fold(read.map(({ record }) => record))
    // A later version may add something, but must not remove or change anything.
    expect(state).toMatchObject(meaning.state)
    if (state !== null) expect(runDetails(state)).toMatchObject(meaning.details)
  })

  test.each(LOGS)('$name: its chain of hashes is whole', (golden) => {
    expect(chainProblems(stored(golden))).toEqual([])
  })
})

describe('a server that finds the golden logs', () => {
  let folder: string
  let dataDir: string
  let model: Awaited<ReturnType<typeof startScriptedModel>>
  let server: Server
  let client: Client

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'retrai-golden-'))
    dataDir = join(folder, 'data')
    await mkdir(dataDir)
    await fill(join(dataDir, 'log.sqlite'))
    model = await startScriptedModel({ script: [] })
    server = new Server({ dataDir, modelUrl: model.url })
    const url = await server.url
    if (url === null) throw new Error(server.output)
    client = new Client(url, new AbortController().signal)
  })
  afterAll(async () => {
    server.kill('SIGKILL')
    await server.exit
    await model.close()
    await rm(folder, { recursive: true })
  })

  test('serves the runs that have ended, and continues the others to their end', async () => {
    const waiting = LOGS.filter(({ events }) => WAITS.has(events.at(-1)?.type ?? ''))
    expect(waiting).toHaveLength(WAITS.size)
    for (const { runId, events } of waiting) await resume(client, runId, events.length - 1)
    const watched = await Promise.all(LOGS.map(({ runId }) => observe(client, runId)))
    const details = await Promise.all(LOGS.map(({ runId }) => client.get(`/api/runs/${runId}`)))
    await server.stop()
    for (const [n, golden] of LOGS.entries()) {
      const { name, runId, events, meaning } = golden
      const now = eventsInFile(dataDir, runId)
      expect(now.slice(0, events.length), name).toEqual(stored(golden))
      const evidence = { runId, events: now, ledger: [], acknowledged: [], settled: true }
      const seen = { observations: watched.slice(n, n + 1), details: [details[n]?.body] }
      expect(violations({ ...evidence, ...seen }), name).toEqual([])
      if (!hasEnded(golden)) continue
      expect(now).toHaveLength(events.length)
      expect(details[n]?.body, name).toMatchObject(meaning.details)
    }
    // Their project is the root of the file system, which contains the data folder, so they end with that reason.
    expect(outcomesOf('call-in-doubt')).toEqual(['unknown', 'unknown'])
    expect(outcomesOf('call-that-reads')).toEqual(['unknown'])
    for (const name of ['call-in-doubt', 'call-that-reads']) {
      const messages = recordsOf(name).flatMap((r) =>
        r.kind === 'error' ? [r.payload.message] : [],
      )
      expect(messages, name).toEqual([expect.stringContaining("contains the server's data folder")])
    }
  })

  const recordsOf = (wanted: string): RunRecord[] =>
    LOGS.filter(({ name }) => name === wanted)
      .flatMap(({ runId }) => eventsInFile(dataDir, runId))
      .map(({ data }): RunRecord => JSON.parse(data))

  const outcomesOf = (wanted: string): string[] =>
    recordsOf(wanted).flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))
})

/** Puts the logs into a store of this version. */
async function fill(file: string): Promise<void> {
  const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
  for (const { runId, events } of LOGS) {
    const appended = await store.append(streamOf(runId), events.map(asWritten), {
      expectedRevision: 'no_stream',
    })
    appended._unsafeUnwrap()
  }
  await store.close()
}

async function resume(client: Client, runId: string, seq: number): Promise<void> {
  const decision = { decision: 'approve', seq }
  const answer = await client.send('POST', `/api/runs/${runId}/resume`, decision)
  expect(answer).toMatchObject({ status: 200 })
}

const observe = (client: Client, runId: string) =>
  watch(client.url, runId, { signal: new AbortController().signal })
