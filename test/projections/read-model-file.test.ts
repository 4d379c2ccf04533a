import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readProjected } from '../../src/projections/read-projected.ts'
import { openReadModel, type SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import { createdRecord } from '../support/run-records.ts'
import {
  collectingLog,
  commit,
  eventsOf,
  LOG_ID,
  numbered,
  open,
  temporaryFiles,
} from './support.ts'

const newFile = temporaryFiles()
const RUN = 'f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a10'
const OTHER = 'f7c2a5de-2c55-4b5c-8a34-4c1a3c1b2a11'

function openLater(...args: Parameters<typeof open>): SqliteReadModel {
  const readModel = open(...args)
  onTestFinished(() => readModel.close())
  return readModel
}

/** A file that was filled and closed. @param cwd of each run */
function filledFile(cwd = '/home/ada/project'): string {
  const file = newFile()
  const readModel = open(file)
  const ids = Array.from({ length: 40 }, (_, i) => `${RUN.slice(0, -2)}${10 + i}`)
  commit(readModel, numbered(ids.flatMap((id) => eventsOf([createdRecord(id, { cwd })]))))
  readModel.close()
  return file
}

function change(file: string, sql: string): void {
  using db = new DatabaseSync(file)
  db.exec(sql)
}

/** Changes text in a file that is open. */
function edit(file: string, from: string, to: string): void {
  const at = readFileSync(file).indexOf(from)
  expect(at).toBeGreaterThan(0)
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, Buffer.from(to), 0, null, at)
  closeSync(descriptor)
}

/** Overwrites everything after the first page, which identifies the file. */
function scribble(file: string): void {
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, Buffer.alloc(readFileSync(file).length - 4096, 0xa5), 0, null, 4096)
  closeSync(descriptor)
}

describe('the file is thrown away', () => {
  const spoilings: Record<string, (file: string) => void> = {
    'no database': (file) => writeFileSync(file, 'a text of somebody else'),
    truncated: (file) => truncateSync(file, 5000),
    scribbled: scribble,
    'of another version': (file) => change(file, 'PRAGMA user_version = 3'),
    'without its tables': (file) => change(file, 'DROP TABLE runs'),
    'without its progress': (file) => change(file, 'DELETE FROM progress'),
  }

  test.each(Object.entries(spoilings))('if it cannot be used: %s', (_, spoil) => {
    const file = filledFile()
    spoil(file)
    const { log, lines } = collectingLog()
    const readModel = openLater(file, LOG_ID, log)
    expect(readModel.get(RUN)).toBeNull()
    expect(readModel.checkpoint).toBeNull()
    expect(readModel.list({ limit: 10 })).toEqual({ runs: [], next: null })
    expect(lines.map(({ level }) => level)).toEqual(['warn'])
    commit(readModel, numbered(eventsOf([createdRecord(OTHER)])))
    expect(readModel.get(OTHER)?.state.seq).toBe(0)
  })

  test('if it was made for another log', () => {
    const file = filledFile()
    const { log, lines } = collectingLog()
    const readModel = openLater(file, 'b1f2b2f0-5d5c-4d5e-8a7e-0a4d7ad2e0c3', log)
    expect(readModel.list({ limit: 10 })?.runs).toEqual([])
    expect(readModel.checkpoint).toBeNull()
    expect(lines).toEqual([expect.objectContaining({ level: 'warn', file })])
  })
})

describe('damage found while the read model is open', () => {
  test('in a state begins a new generation, which reads use at once', () => {
    // So long that SQLite does not keep its end in memory. The first run is the first in the file.
    const file = filledFile(`/${'x'.repeat(100_000)}`)
    const { log, lines } = collectingLog()
    const readModel = openLater(file, LOG_ID, log)
    edit(file, '"type":"ready"', '"type":"ready,')
    const { generation } = readModel
    expect(readModel.get(OTHER)?.state.runId).toBe(OTHER)
    readModel.markCaughtUp()
    expect(generation.aborted).toBe(false)

    expect(readModel.get(RUN)).toBeNull()
    expect(generation.aborted).toBe(true)
    expect(readModel.generation.aborted).toBe(false)
    expect(readModel.caughtUp).toBe(false)
    expect(readModel.checkpoint).toBeNull()
    expect(readModel.get(OTHER)).toBeNull()
    expect(lines.map(({ level }) => level)).toEqual(['warn'])
  })
})

test('a file that another process has open is refused and stays as it is', () => {
  const file = filledFile()
  const first = openLater(file)
  const second = openReadModel({ file, log: collectingLog().log })
  expect(second._unsafeUnwrapErr()).toMatchObject({
    message: expect.stringContaining('another process'),
  })
  expect(first.list({ limit: 1 })?.runs).toHaveLength(1)
  commit(first, numbered(eventsOf([createdRecord(OTHER.replace('f7', '00'))])))
})

test('a database of another program is refused and stays as it is', () => {
  const file = newFile()
  change(file, 'CREATE TABLE events (name TEXT); PRAGMA user_version = 1')
  const before = readFileSync(file)
  const refused = openReadModel({ file, log: collectingLog().log })
  expect(refused._unsafeUnwrapErr()).toMatchObject({
    type: 'read_model_failed',
    message: expect.stringContaining('another program'),
  })
  expect(readFileSync(file)).toEqual(before)
})

test('a file that is damaged is read by nobody, and the reason says what to do', () => {
  const file = filledFile()
  scribble(file)
  expect(readProjected(file)._unsafeUnwrapErr()).toContain('delete read-model.sqlite*')
})

test('a failed commit leaves nothing of the batch', () => {
  const file = filledFile()
  change(
    file,
    `CREATE TRIGGER full BEFORE INSERT ON runs WHEN NEW.goal = 'no-space'
     BEGIN SELECT RAISE(ABORT, 'no space'); END`,
  )
  const readModel = openLater(file)
  const before = readModel.checkpoint
  const created = createdRecord(OTHER.replace('f7', '00'))
  const refused = createdRecord(OTHER.replace('f7', '01'), { goal: 'no-space' })
  const events = numbered([created, refused].flatMap((record) => eventsOf([record])))
  expect(() => commit(readModel, events)).toThrow(/no space/)
  expect(readModel.checkpoint).toEqual(before)
  expect(readModel.get(created.run_id)).toBeNull()
  commit(readModel, events.slice(0, 1))
  expect(readModel.get(created.run_id)?.state.seq).toBe(0)
})

test('a call waits until its record is committed, or the file is closed', async () => {
  const readModel = open(newFile())
  const waiting = readModel.waitFor(RUN, 0, 60_000)
  commit(readModel, numbered(eventsOf([createdRecord(RUN)])))
  expect(await waiting).toBe(true)
  expect(await readModel.waitFor(RUN, 0, 0)).toBe(true)
  expect(await readModel.waitFor(RUN, 1, 0)).toBe(false)
  const last = readModel.waitFor(RUN, 3, 60_000)
  readModel.close()
  expect(await last).toBe(false)
})
