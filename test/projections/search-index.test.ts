import { readdir, readFile, rm, truncate } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { parseQuery } from '../../src/domain/search-query.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { Projector } from '../../src/projections/projector.ts'
import { SearchIndex } from '../../src/projections/search/search-index.ts'
import type { LoggedRedaction } from '../../src/redaction/redaction-index.ts'
import { type EventStore, type RecordedEvent, storeWith } from '../../src/store/event-store.ts'
import { append, prepare } from '../support/append-records.ts'
import { memoryStore } from '../support/memory-store.ts'
import { createdRecord } from '../support/run-records.ts'
import { collectingLog, open, temporaryFiles } from './support.ts'

const newFile = temporaryFiles()

/** A run whose only record says this. */
async function say(store: EventStore, runId: string, instructions: string): Promise<void> {
  const record = createdRecord(runId)
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
  })
  const file = newFile()
  const index = (asOfNow = (event: RecordedEvent) => event) =>
    new SearchIndex({ file, store, readModel, projector, asOfNow, log })
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

test('after a redaction or a removal, no word of it is in a file', async () => {
  const { store, file, index } = await follow()
  const removed = 'quincunx'
  const redacted = 'zeugma'
  await say(store, A, `paint the ${removed}`)
  await say(store, B, `paint the ${redacted}`)
  const gone = new Set<string>()
  const built = index((event) => {
    const hidden = gone.has(redacted) ? event.data.replaceAll(redacted, 'parser') : event.data
    return { ...event, data: hidden }
  })
  const holds = async (word: string) => {
    const names = (await readdir(dirname(file))).filter((name) => name.startsWith(basename(file)))
    const files = names.map((name) => readFile(join(dirname(file), name), 'latin1'))
    return (await Promise.all(files)).join().includes(word)
  }
  built.start()
  await expect.poll(() => found(built, 'paint')).toBe(2)
  expect(await Promise.all([removed, redacted].map(holds))).toEqual([true, true])
  gone.add(redacted)
  await built.forget([{ seq: 4 } as LoggedRedaction])
  expect(await holds(redacted)).toBe(false)
  await expect.poll(() => found(built, 'paint')).toBe(2)
  // What is carried out is not carried out again.
  await built.forget([{ seq: 4 } as LoggedRedaction])
  expect(built.behind).toBe(0)
  ;(await store.removeStream?.(streamOf(A), 0))?._unsafeUnwrap()
  await built.removeRuns([A])
  expect(await holds(removed)).toBe(false)
  await expect.poll(() => found(built, 'paint')).toBe(1)
  expect(await holds(removed)).toBe(false)
  await built.stop()
})
