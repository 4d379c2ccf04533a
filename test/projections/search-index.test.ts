import { rm, truncate } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { parseQuery } from '../../src/domain/search-query.ts'
import { Projector } from '../../src/projections/projector.ts'
import { SearchIndex } from '../../src/projections/search/search-index.ts'
import { type EventStore, storeWith } from '../../src/store/event-store.ts'
import { append, prepare } from '../support/append-records.ts'
import { memoryStore } from '../support/memory-store.ts'
import { createdRecord } from '../support/run-records.ts'
import { collectingLog, open, temporaryFiles } from './support.ts'

const newFile = temporaryFiles()

/** A run whose only record says this. */
async function say(store: EventStore, runId: string, instructions: string): Promise<void> {
  const [record] = [createdRecord(runId)]
  const said = { ...record, payload: { ...record.payload, instructions } } as RunRecord
  const prepared = prepare(runId, null, [said], { commandId: 'a command' })
  ;(await append(store, prepared))._unsafeUnwrap()
}

/** The log with its read model, and where the index has begun to read it. */
async function follow() {
  const memory = memoryStore()
  const begun: (string | null)[] = []
  const store = storeWith(memory, {
    subscribeAll: (options) => {
      begun.push(options.after)
      return memory.subscribeAll(options)
    },
  })
  const { log } = collectingLog()
  const readModel = open(newFile(), null, log)
  const projector = new Projector({ store: memory, readModel, log })
  onTestFinished(async () => {
    await projector.stop()
    readModel.close()
    await memory.close()
  })
  const file = newFile()
  const index = () =>
    new SearchIndex({ file, store, readModel, projector, asOfNow: (event) => event, log })
  return { store: memory, begun, file, index, readModel }
}

async function found(index: SearchIndex, q: string): Promise<number | undefined> {
  const query = parseQuery(q)._unsafeUnwrap()
  const all = { runId: null, kinds: null, limit: 10, after: null }
  return (await index.find({ query, ...all }))?.length
}

const RUNS = ['0', '1', '2'].map((n) => `f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a1${n}`)
const [A = '', B = '', C = ''] = RUNS

test('an index continues where it was, says how much is missing, and is rebuilt if it cannot be used', async () => {
  const { store, begun, file, index, readModel } = await follow()
  await say(store, A, 'paint the parser')
  const first = index()
  first.start()
  await expect.poll(() => found(first, 'parser')).toBe(1)
  expect(first.behind).toBe(0)
  await first.stop()

  await say(store, B, 'paint the printer')
  await say(store, C, 'paint it')
  expect(await readModel.waitFor(C, 0, 5000)).toBe(true)
  const second = index()
  // What it has can be searched before it follows the log.
  expect(await found(second, 'paint')).toBe(1)
  expect(second.behind).toBe(2)
  const before = begun.length
  second.start()
  await expect.poll(() => found(second, 'paint')).toBe(3)
  expect(begun.slice(before)).toEqual(['1'])
  await second.removeRun(C)
  expect(await found(second, 'paint')).toBe(2)
  await second.stop()

  const change = (sql: string) => () => {
    using db = new DatabaseSync(file)
    db.exec(sql)
  }
  const spoil = [
    () => rm(file),
    () => truncate(file, 5000),
    change('PRAGMA user_version = 1'),
    change("UPDATE progress SET log_id = 'another'"),
    change("UPDATE progress SET event_id = 'another'"),
  ]
  for (const each of spoil) {
    await each()
    const again = index()
    again.start()
    await expect.poll(() => found(again, 'paint')).toBe(3)
    expect(again.behind).toBe(0)
    await again.stop()
  }
})
