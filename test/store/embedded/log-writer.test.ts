import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Append, LogWriter } from '../../../src/store/embedded/log-writer.ts'
import {
  ANY,
  FAILED,
  NO_STREAM,
  STORED,
  WRONG_REVISION,
} from '../../../src/store/embedded/messages.ts'
import { prepareSchema } from '../../../src/store/embedded/schema.ts'
import { testFolder } from './support.ts'

async function openLog(): Promise<{ db: DatabaseSync; writer: LogWriter; file: string }> {
  const file = `${await testFolder()}/log.db`
  const db = new DatabaseSync(file)
  onTestFinished(() => db.close())
  prepareSchema(db, file)
  return { db, writer: new LogWriter(db, file), file }
}

let ids = 0
const append = (stream: string, expected: number, type = 'told', data = '{}'): Append => {
  ids += 1
  return { stream, expected, events: [`id-${ids}`, type, data, '{}'] }
}

const stored = (db: DatabaseSync): unknown[] =>
  db
    .prepare(
      'SELECT name, revision, position FROM events JOIN streams ON streams.id = stream_id ORDER BY 3',
    )
    .all()
    .map((row) => `${row.name}@${row.revision} #${row.position}`)

describe('a group of appends', () => {
  test('is one commit, and a wrong revision in it affects no other append', async () => {
    const { db, writer } = await openLog()
    const group = [append('a', NO_STREAM), append('a', NO_STREAM), append('a', 0), append('b', 7)]
    const [settled, ...others] = writer.write(group)
    expect(others).toEqual([])
    expect(settled?.outcomes).toEqual(
      [
        [STORED, 0, 1],
        [WRONG_REVISION, 0, 0],
        [STORED, 1, 2],
        [WRONG_REVISION, NO_STREAM, 0],
      ].flat(),
    )
    expect(stored(db)).toEqual(['a@0 #1', 'a@1 #2'])
  })

  test('includes what arrives while it is written', async () => {
    const { db, writer } = await openLog()
    const group = [append('a', NO_STREAM)]
    const later = [append('a', 0), append('b', NO_STREAM)]
    const more = (): boolean => {
      const next = later.shift()
      if (next !== undefined) group.push(next)
      return next !== undefined
    }
    expect(writer.write(group, more)).toHaveLength(1)
    expect(stored(db)).toEqual(['a@0 #1', 'a@1 #2', 'b@0 #3'])
  })

  test('is written in the transaction that was begun before it came', async () => {
    const { db, writer, file } = await openLog()
    writer.begin()
    expect(db.isTransaction).toBe(true)
    writer.write([append('a', NO_STREAM)])
    expect(db.isTransaction).toBe(false)
    writer.begin()
    writer.rest()
    expect(db.isTransaction).toBe(false)
    const other = new DatabaseSync(file)
    onTestFinished(() => other.close())
    other.exec('BEGIN IMMEDIATE')
    db.exec('PRAGMA busy_timeout = 0')
    writer.begin()
    other.exec('ROLLBACK')
    writer.write([append('a', 0)])
    expect(stored(db)).toEqual(['a@0 #1', 'a@1 #2'])
  })

  test('is written one by one if SQLite refuses one of its appends', async () => {
    const { db, writer, file } = await openLog()
    db.exec(`CREATE TRIGGER poison BEFORE INSERT ON events WHEN new.type = 'poison'
      BEGIN SELECT RAISE(ABORT, 'poisoned'); END`)
    writer.write([append('a', NO_STREAM)])
    const group = [append('a', 0), append('b', ANY, 'poison'), append('b', ANY), append('a', 1)]
    const settled = writer.write(group)
    expect(settled.map(({ outcomes }) => outcomes[0])).toEqual([STORED, FAILED, STORED, STORED])
    expect(settled[1]?.failure?.message).toContain(file)
    expect(settled[1]?.failure?.message).toContain('poisoned')
    expect(stored(db)).toEqual(['a@0 #1', 'a@1 #2', 'b@0 #3', 'a@2 #4'])
  })

  test('leaves no trace if its commit fails, and the next group is written', async () => {
    const { db, writer } = await openLog()
    db.exec(`
      CREATE TABLE allowed (type TEXT PRIMARY KEY) STRICT;
      CREATE TABLE checked (type TEXT REFERENCES allowed DEFERRABLE INITIALLY DEFERRED) STRICT;
      CREATE TRIGGER checking AFTER INSERT ON events WHEN new.type = 'odd'
      BEGIN INSERT INTO checked VALUES (new.type); END`)
    const settled = writer.write([append('a', NO_STREAM), append('b', NO_STREAM, 'odd')])
    expect(settled.map(({ outcomes }) => outcomes)).toEqual([[FAILED, 0, 0, FAILED, 0, 0]])
    expect(stored(db)).toEqual([])
    writer.write([append('a', NO_STREAM)])
    expect(stored(db)).toEqual(['a@0 #1'])
  })
})

test('a full disk is reported, and appends work again when there is room', async () => {
  const { db, writer, file } = await openLog()
  db.exec('PRAGMA max_page_count = 20')
  const large = 'x'.repeat(20_000)
  let last = -1
  for (;;) {
    const [settled] = writer.write([append('a', last, 'told', large)])
    if (settled?.failure === null) {
      last += 1
      continue
    }
    expect(settled?.failure).toEqual({
      type: 'store_failed',
      message: `the event store ${file} has no room left (database or disk is full): free some disk space`,
    })
    break
  }
  expect(last).toBeGreaterThan(0)
  expect(stored(db)).toHaveLength(last + 1)
  db.exec('PRAGMA max_page_count = 1000')
  expect(writer.write([append('a', last)])[0]?.outcomes.slice(0, 2)).toEqual([STORED, last + 1])
})

test('times in the log never run backwards, whatever the clock does', async () => {
  const { db, writer } = await openLog()
  writer.write([append('a', NO_STREAM)])
  const future = Date.now() + 1e9
  db.exec(`UPDATE events SET created = ${future}`)
  const again = new LogWriter(db, 'log.db')
  expect(again.write([append('a', 0)])[0]?.created).toBe(future)
})
