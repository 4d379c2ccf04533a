import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { ok } from 'neverthrow'
import { afterEach, expect, test } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { decideAndAppend } from '../../src/log/decider.ts'
import { redactStrings } from '../../src/log/redacted-record.ts'
import { type LoadedRun, streamOf } from '../../src/log/run-log.ts'
import type { BatchRows } from '../../src/projections/batch.ts'
import { MergedBatches } from '../../src/projections/log-fold.ts'
import { type Rebuild, startProjector } from '../../src/projections/projector.ts'
import { openReadModel } from '../../src/projections/sqlite-read-model.ts'
import { withRedactions } from '../../src/redaction/redaction-index.ts'
import { REDACTIONS, type Redaction } from '../../src/redaction/redaction-ledger.ts'
import { Redactor } from '../../src/redaction/redactor.ts'
import { foldShare, rebuildFromFile } from '../../src/server/rebuild.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { LogScan } from '../../src/store/embedded/log-scan.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { append, prepare } from '../support/append-records.ts'
import { validRun } from '../support/run-records.ts'

const log = { info: () => {}, warn: () => {}, error: () => {} }
let cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp()
  cleanUps = []
})

async function folderOfLog(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-rebuild-'))
  cleanUps.push(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function openStore(folder: string): Promise<EventStore> {
  const store = (await openEmbeddedStore({ file: join(folder, 'log.sqlite') }))._unsafeUnwrap()
  cleanUps.push(() => store.close())
  return store
}

async function write(
  store: EventStore,
  records: readonly RunRecord[],
  from: LoadedRun | null = null,
): Promise<LoadedRun> {
  const runId = records[0]?.run_id ?? ''
  return (
    await append(store, prepare(runId, from, records, { commandId: randomUUID() }))
  )._unsafeUnwrap()
}

/** Runs of some length. */
const sampled = (count: number): RunRecord[][] =>
  fc.sample(
    validRun(undefined, { maxMoves: 25 }).filter((records) => records.length > 8),
    { numRuns: count, seed: 5 },
  )

/** Projects the log into a file, and returns all that the file then holds, without its seals. */
async function project(store: EventStore, folder: string, name: string, rebuild?: Rebuild) {
  const redactor = new Redactor({ store, log })
  const file = join(folder, `${name}.sqlite`)
  const readModel = openReadModel({ file, log })._unsafeUnwrap()
  const projector = startProjector({
    ...{ store: withRedactions(store, redactor), readModel, log },
    asOfNow: (event) => redactor.apply(event),
    ...(rebuild === undefined ? {} : { rebuild }),
  })
  expect(await projector.caughtUpOnce()).toBe(true)
  await projector.stop()
  readModel.close()
  const db = new DatabaseSync(file)
  const contents = {
    runs: db.prepare('SELECT * FROM runs ORDER BY run_id').all(),
    damaged: db.prepare('SELECT * FROM damaged ORDER BY run_id').all(),
    progress: db.prepare('SELECT * FROM progress').all(),
  }
  db.close()
  const unsealed = (rows: readonly object[]) => rows.map((row) => ({ ...row, seal: '', rows: '' }))
  return { ...contents, runs: unsealed(contents.runs), progress: unsealed(contents.progress) }
}

/** Records that a string of a record is redacted. The store still has it. */
async function redact(store: EventStore, runId: string, seq: number, pointer: string) {
  const options = { from: seq, direction: 'forward', limit: 1 } as const
  const [event] = (await store.readStream(streamOf(runId), options))._unsafeUnwrap()
  if (event === undefined) throw new Error('there is no such record')
  const { redacted } = redactStrings(event, new Set([pointer]))
  expect(Object.keys(redacted)).toEqual([pointer])
  const payload = { run_id: runId, seq, redacted, reason: 'a password' }
  const entry: Redaction = { kind: 'redacted', ts: 1_770_000_000, payload }
  const author = { commandId: randomUUID() }
  ;(await decideAndAppend(store, REDACTIONS, () => ok([entry]), author))._unsafeUnwrap()
}

/** The rebuild in a thread or in this one, and how many batches came from it. */
function counted(store: EventStore, folder: string, worthEvents = 1) {
  const redactor = new Redactor({ store, log })
  const rebuild = rebuildFromFile(join(folder, 'log.sqlite'), redactor, worthEvents)
  const batches: number[] = []
  const counting: Rebuild = async function* counting(...args) {
    for await (const batch of rebuild(...args)) {
      batches.push(batch.rows.length)
      yield batch
    }
  }
  return { rebuild: counting, batches }
}

test('reading the log from its file makes the same read model as a subscription, also of unfinished, damaged, altered or redacted runs', async () => {
  const folder = await folderOfLog()
  const runs = sampled(12)
  const ids = runs.map((records) => records[0]?.run_id ?? '')
  const [brokenId = '', alteredId = '', redactedId = ''] = ids
  const before = await openStore(folder)
  const heads: LoadedRun[] = []
  for (const records of runs) heads.push(await write(before, records.slice(0, 5)))
  const broken = { id: randomUUID(), type: 'tool_call', data: '{}', metadata: '{}' }
  ;(await before.append(streamOf(brokenId), [broken], { expectedRevision: 4 }))._unsafeUnwrap()
  await redact(before, redactedId, 0, '/config/goal')
  await before.close()
  // Another text of the same JSON.
  const db = new DatabaseSync(join(folder, 'log.sqlite'))
  db.prepare(`
    UPDATE events SET data = replace(data, '{"kind"', '{ "kind"') WHERE revision = 2
    AND stream_id = (SELECT id FROM streams WHERE name = ?)`).run(streamOf(alteredId))
  db.close()

  const store = await openStore(folder)
  const first = counted(store, folder)
  const rebuilt = await project(store, folder, 'by-thread', first.rebuild)
  expect(first.batches).not.toEqual([])
  expect(rebuilt).toEqual(await project(store, folder, 'by-subscription'))
  const here = counted(store, folder, Number.POSITIVE_INFINITY)
  expect(await project(store, folder, 'here', here.rebuild)).toEqual(rebuilt)
  expect(here.batches).not.toEqual([])
  expect(rebuilt.damaged).toMatchObject(
    [
      { run_id: brokenId, seq: 5 },
      { run_id: alteredId, seq: 2 },
    ].sort((one, other) => (one.run_id < other.run_id ? -1 : 1)),
  )
  expect(rebuilt.runs.find((row) => 'run_id' in row && row.run_id === redactedId)).toMatchObject({
    goal: '[redacted]',
  })

  // The thread continues after a checkpoint, with runs that began before it.
  for (const [at, records] of runs.entries()) {
    if (at > 2) await write(store, records.slice(5), heads[at])
  }
  const second = counted(store, folder)
  const continued = await project(store, folder, 'by-thread', second.rebuild)
  expect(second.batches).not.toEqual([])
  expect(continued).toEqual(await project(store, folder, 'from-zero'))
  const rest = counted(store, folder, Number.POSITIVE_INFINITY)
  expect(await project(store, folder, 'here', rest.rebuild)).toEqual(continued)
  expect(rest.batches).not.toEqual([])
})

test('shares of a log, folded in windows and merged, make the same rows as the whole log', async () => {
  const folder = await folderOfLog()
  const store = await openStore(folder)
  const runs = sampled(6)
  let heads: readonly (LoadedRun | null)[] = runs.map(() => null)
  for (let from = 0; from < 24; from += 3) {
    const after: (LoadedRun | null)[] = []
    for (const [at, records] of runs.entries()) {
      const [known, more] = [heads[at] ?? null, records.slice(from, from + 3)]
      after.push(more.length === 0 ? known : await write(store, more, known))
    }
    heads = after
  }
  using scan = LogScan.open(join(folder, 'log.sqlite'))._unsafeUnwrap()
  const through = scan.last()
  const folded = (of: number, window: number): BatchRows[] => {
    const merged = new MergedBatches()
    const shares = Array.from({ length: of }, (_, index) => {
      const task = { after: 0, through, damaged: [], share: { index, of } }
      return [...foldShare(scan, task, window)]
    })
    const taken: BatchRows[] = []
    for (let at = 0; at < Math.ceil(through / window); at += 1) {
      for (const share of shares) {
        const rows = share[at]
        if (rows) merged.add(rows)
      }
      const rows = merged.isFull ? merged.take() : null
      if (rows !== null) taken.push(rows)
    }
    const rest = merged.take()
    return rest === null ? taken : [...taken, rest]
  }
  const [whole] = folded(1, through)
  const sorted = (rows: BatchRows['rows']) =>
    rows.toSorted((one, other) => (one.run_id < other.run_id ? -1 : 1))
  for (const [of, window] of [
    [1, 5],
    [2, 4],
    [3, 100],
  ] as const) {
    const batches = folded(of, window)
    const rows = new Map(batches.flatMap((batch) => batch.rows).map((row) => [row.run_id, row]))
    expect(sorted([...rows.values()])).toEqual(sorted(whole?.rows ?? []))
    expect(batches.at(-1)?.checkpoint).toEqual(whole?.checkpoint)
    // A run is new once, in the batch with its first row.
    const news = batches.flatMap(({ newRuns }) => [...newRuns])
    expect(news.toSorted()).toEqual([...(whole?.newRuns ?? [])].toSorted())
  }
  expect(folded(2, 4).length).toBeGreaterThan(1)
})

test.each([
  { where: 'a thread', worthEvents: 1 },
  { where: 'this thread', worthEvents: Number.POSITIVE_INFINITY },
])(
  'a fold in $where ends when a redaction is recorded, because it does not know it',
  async ({ worthEvents }) => {
    const folder = await folderOfLog()
    const store = await openStore(folder)
    for (const records of sampled(3)) await write(store, records)
    let known = -1
    const redactor = {
      ready: () => new Redactor({ store, log }).ready(),
      get known() {
        // Its first value is taken before the thread starts.
        known += 1
        return known
      },
    }
    const rebuild = rebuildFromFile(join(folder, 'log.sqlite'), redactor, worthEvents)
    for await (const batch of rebuild(null, [], new AbortController().signal)) {
      throw new Error(`a batch of ${batch.rows.length} runs was taken`)
    }
    expect(known).toBeGreaterThan(0)
  },
)
