import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { err, errAsync } from 'neverthrow'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { type LoadedRun, streamOf } from '../../src/log/run-log.ts'
import { Projector } from '../../src/projections/projector.ts'
import type { SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import {
  type EventStore,
  type RecordedEvent,
  type SubscriptionItem,
  storeWith,
} from '../../src/store/event-store.ts'
import { append, prepare } from '../support/append-records.ts'
import { memoryStore } from '../support/memory-store.ts'
import { createdRecord, validAppends, validRun } from '../support/run-records.ts'
import { collectingLog, eventsOf, LOG_ID, numbered, open, temporaryFiles } from './support.ts'

const newFile = temporaryFiles()
const RUN = 'f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a10'
const OTHER = 'f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a11'
const PATIENCE_MS = 30_000

/** A store that holds long runs with these ids. */
async function storeOf(...runIds: string[]): Promise<EventStore> {
  const store = memoryStore()
  for (const runId of runIds) await write(store, longRun(runId))
  return store
}

type ProjectorOptions = ConstructorParameters<typeof Projector>[0]

/** Projects a log until the end of the test, or until `stop`. @param prepare is called before it begins */
function start(
  store: EventStore,
  file = newFile(),
  prepare: (readModel: SqliteReadModel) => Partial<ProjectorOptions> = () => ({}),
) {
  const { log, lines } = collectingLog()
  const readModel = open(file, null, log)
  const projector = new Projector({ store, readModel, log, ...prepare(readModel) })
  const stop = async (): Promise<void> => {
    await projector.stop()
    readModel.close()
  }
  onTestFinished(stop)
  const errors = () => lines.filter(({ level }) => level === 'error')
  return { readModel, projector, lines, errors, stop, file }
}

/** The file of a read model that has projected this log. */
async function projected(store: EventStore): Promise<string> {
  const { projector, stop, file } = start(store)
  await projector.caughtUpOnce()
  await stop()
  return file
}

function change(file: string, sql: string): void {
  using db = new DatabaseSync(file)
  db.exec(sql)
}

/** Appends records to a run, and returns the run after them. */
async function write(
  store: EventStore,
  records: readonly RunRecord[],
  from: LoadedRun | null = null,
): Promise<LoadedRun> {
  const prepared = prepare(records[0]?.run_id ?? '', from, records, { commandId: 'a command' })
  return (await append(store, prepared))._unsafeUnwrap()
}

/** A run of more than eight records. */
function longRun(runId: string): RunRecord[] {
  return LONG_RUN.map((record) => ({ ...record, run_id: runId }))
}

const LONG_RUN =
  fc
    .sample(validRun(fc.constant(RUN)), { numRuns: 50, seed: 11 })
    .find(({ length }) => length > 8) ?? []

function stateOf(readModel: SqliteReadModel, runId: string) {
  return readModel.get(runId)?.state
}

describe('the projector', () => {
  test('keeps the read model equal to the fold of the log while runs are written and it restarts', async () => {
    const plan = fc.tuple(
      fc.uniqueArray(validAppends(undefined, { maxMoves: 20 }), {
        minLength: 1,
        maxLength: 4,
        selector: (appends) => appends[0]?.[0]?.run_id,
      }),
      fc.array(fc.integer({ min: 0, max: 15 }), { maxLength: 3 }),
    )
    await fc.assert(
      fc.asyncProperty(plan, async ([runs, restarts]) => {
        const store = memoryStore()
        let { projector, readModel, stop, file } = start(store)
        const heads = new Map<number, LoadedRun>()
        const longest = Math.max(...runs.map((appends) => appends.length))
        for (let round = 0; round < longest; round += 1) {
          for (const [i, appends] of runs.entries()) {
            const records = appends[round]
            if (records === undefined) continue
            heads.set(i, await write(store, records, heads.get(i)))
          }
          if (restarts.includes(round)) {
            await stop()
            ;({ projector, readModel, stop, file } = start(store, file))
          }
        }
        expect(await projector.caughtUpOnce()).toBe(true)
        for (const head of heads.values()) {
          const { runId, seq } = head.state
          expect(await readModel.waitFor(runId, seq, PATIENCE_MS)).toBe(true)
          expect(readModel.get(runId)).toEqual(head)
        }
        await stop()
      }),
      { numRuns: 15 },
    )
  })

  test('reports when the whole log is projected, and as of when its runs are unfinished', async () => {
    const store = await storeOf(RUN)
    const { projector, readModel, lines } = start(store)
    expect(readModel.caughtUp).toBe(false)
    expect(readModel.unfinished()).toEqual({ runs: [], asOf: null })
    expect(await projector.caughtUpOnce()).toBe(true)
    expect(readModel.caughtUp).toBe(true)
    expect(stateOf(readModel, RUN)).toEqual(fold(longRun(RUN)))
    expect(lines.map(({ level }) => level)).toEqual(['info'])

    const { asOf } = readModel.unfinished()
    // A run that begins between the two is not lost.
    await write(store, longRun(OTHER))
    const behind = new AbortController()
    const subscription = store.subscribeAll({
      after: asOf,
      prefix: 'run-',
      signal: behind.signal,
    })
    for await (const item of subscription) {
      const [first] = item.type === 'events' ? item.events : []
      expect(first).toMatchObject({ stream: `run-${OTHER}`, revision: 0 })
      break
    }
    behind.abort()
  })

  test('lets other work have turns while it projects a long history', async () => {
    const store = memoryStore()
    const events = numbered(
      Array.from({ length: 3000 }, (_, i) => {
        return createdRecord(RUN.slice(0, -4) + String(i).padStart(4, '0'))
      }).flatMap((record) => eventsOf([record])),
    )
    const items: SubscriptionItem[] = [{ type: 'events', events }, { type: 'caught_up' }]
    let turns = 0
    const count = (): void => {
      turns += 1
      turn = setImmediate(count)
    }
    let turn = setImmediate(count)
    const { projector, readModel } = start(withSubscriptions(store, () => items))
    await projector.caughtUpOnce()
    clearImmediate(turn)
    expect(readModel.checkpoint?.position).toBe('p2999')
    // Once it has all events, it projects them in slices of time: a fast machine needs fewer of them.
    expect(turns).toBeGreaterThanOrEqual(5)
  })

  test('folds records again if a redaction comes before their commit', async () => {
    const store = memoryStore()
    const records = [createdRecord(RUN)]
    const events = numbered(eventsOf(records))
    const goal = records[0]?.kind === 'run_created' ? records[0].payload.config.goal : ''
    let redacted = false
    const asOfNow = (event: RecordedEvent): RecordedEvent =>
      redacted ? { ...event, data: event.data.replaceAll(goal, '[redacted]') } : event
    const delivered = withSubscriptions(store, function* () {
      yield { type: 'events', events }
      if (!redacted) {
        redacted = true
        opened?.replace([], 0)
      }
      yield { type: 'caught_up' }
    })
    let opened: SqliteReadModel | undefined
    const { projector, readModel } = start(delivered, newFile(), (one) => {
      opened = one
      return { asOfNow }
    })
    await projector.caughtUpOnce()
    expect(stateOf(readModel, RUN)?.config.goal).toBe('[redacted]')
  })
})

/** The store with subscriptions that deliver something else; each ends only with its signal. */
const withSubscriptions = (store: EventStore, deliver: () => Iterable<SubscriptionItem>) =>
  storeWith(store, {
    async *subscribeAll({ signal }) {
      yield* deliver()
      if (!signal.aborted) await once(signal, 'abort')
    },
  })

describe('what goes wrong', () => {
  test('a damaged run stops no other run, and is logged once', async () => {
    const store = memoryStore()
    const records = longRun(RUN)
    await write(store, records.slice(0, 3))
    const broken = { id: LOG_ID, type: 'tool_call', data: '{}', metadata: '{}' }
    const more = { ...broken, id: RUN }
    ;(await store.append(streamOf(RUN), [broken, more], { expectedRevision: 2 }))._unsafeUnwrap()
    const first = start(store)
    await first.projector.caughtUpOnce()
    await write(store, longRun(OTHER))
    expect(await first.readModel.waitFor(OTHER, longRun(OTHER).length - 1, PATIENCE_MS)).toBe(true)
    expect(stateOf(first.readModel, RUN)).toEqual(fold(records.slice(0, 3)))
    expect(first.errors()).toEqual([expect.objectContaining({ runId: RUN, seq: 3 })])
    await first.stop()

    const second = start(store, first.file)
    await second.projector.caughtUpOnce()
    expect(stateOf(second.readModel, RUN)).toEqual(fold(records.slice(0, 3)))
    expect(second.errors()).toEqual([])
  })

  test('a log that was restored from a backup and then received other records is projected from the start', async () => {
    const before = await storeOf(RUN, OTHER)
    const file = await projected(before)

    const after = memoryStore()
    const written = await write(after, longRun(RUN).slice(0, 2))
    const { projector, readModel, lines } = start(after, file)
    await projector.caughtUpOnce()
    expect(readModel.get(RUN)).toEqual(written)
    expect(readModel.get(OTHER)).toBeNull()
    expect(lines[0]).toMatchObject({ level: 'warn' })
  })

  test('if damage is found while a batch is folded, no record is lost', async () => {
    const store = memoryStore()
    const records = longRun(RUN)
    await write(store, longRun(OTHER))
    const head = await write(store, records.slice(0, 3))
    const file = await projected(store)
    change(file, `UPDATE runs SET state = '{' WHERE run_id = '${RUN}'`)

    const whole = await write(store, records.slice(3), head)
    const { readModel, errors } = start(store, file)
    await vi.waitUntil(() => readModel.caughtUp, PATIENCE_MS)
    expect(readModel.get(RUN)).toEqual(whole)
    expect(stateOf(readModel, OTHER)).toEqual(fold(longRun(OTHER)))
    expect(readModel.damaged.has(RUN)).toBe(false)
    expect(errors()).toEqual([])
  })

  test('a failed commit is retried', async () => {
    const store = await storeOf(RUN)
    const failure = { type: 'read_model_failed', message: 'the disk is full' } as const
    const { projector, readModel, lines } = start(store, newFile(), (opened) => {
      vi.spyOn(opened, 'commit').mockReturnValueOnce(err(failure))
      return {}
    })
    await projector.caughtUpOnce()
    expect(stateOf(readModel, RUN)).toEqual(fold(longRun(RUN)))
    expect(lines[0]).toMatchObject({ level: 'error', error: failure })
  })

  test('a log that was moved to a store with other positions is projected from the start', async () => {
    const store = await storeOf(RUN)
    const file = await projected(store)
    const readStream: EventStore['readStream'] = (...args) =>
      store
        .readStream(...args)
        .map((events) => events.map((event) => ({ ...event, position: `moved:${event.position}` })))
    const moved = withSubscriptions(store, () => [
      { type: 'events', events: numbered(eventsOf(longRun(OTHER))) },
      { type: 'caught_up' },
    ])
    const { projector, readModel } = start(storeWith(moved, { readStream }), file)
    expect(await projector.caughtUpOnce()).toBe(true)
    expect(readModel.get(RUN)).toBeNull()
    expect(stateOf(readModel, OTHER)).toEqual(fold(longRun(OTHER)))
  })

  test('an outage is reported while it lasts, and logged when it begins and ends', async () => {
    const store = await storeOf(RUN)
    const { promise: tried, resolve } = Promise.withResolvers<void>()
    let attempts = 0
    const readStream: EventStore['readStream'] = (...args) => {
      attempts += 1
      if (attempts > 3) return store.readStream(...args)
      if (attempts === 2) resolve()
      return errAsync({ type: 'store_failed', message: 'no room left' } as const)
    }
    const away = withSubscriptions(store, () => [{ type: 'caught_up' }])
    const { projector, lines, errors } = start(storeWith(away, { readStream }))
    expect(projector.problem()).toBeNull()
    await tried
    expect(projector.problem()).toBe('no room left')
    expect(await projector.caughtUpOnce()).toBe(true)
    expect(projector.problem()).toBeNull()
    expect(errors()).toHaveLength(1)
    expect(lines.at(-1)?.message).toMatch(/projected again/)
  })
})
