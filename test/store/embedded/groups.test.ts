import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import type { NewEvent } from '../../../src/store/event-store.ts'
import { newEvent } from '../contract/support.ts'
import { openStore, testFolder } from './support.ts'

/** A store, and a second connection to its file. */
async function openBoth() {
  const file = `${await testFolder()}/log.db`
  const store = await openStore(file)
  const db = new DatabaseSync(file)
  onTestFinished(async () => {
    db.close()
    await store.close()
  })
  /** Appends all in one turn of the event loop, which makes them one group. */
  const group = (...appends: readonly (readonly [string, NewEvent])[]) =>
    Promise.all(
      appends.map(([stream, event]) => store.append(stream, [event], { expectedRevision: 'any' })),
    ).then((results) => results.map((result) => result.match<unknown>(Object, Object)))
  const stored = () =>
    db
      .prepare(
        'SELECT name, revision, position FROM events JOIN streams ON streams.id = stream_id ORDER BY 3',
      )
      .all()
      .map((row) => `${row.name}@${row.revision} #${row.position}`)
  return { file, db, group, stored }
}

const told = (): NewEvent => ({ ...newEvent(), type: 'told' })
const odd = (): NewEvent => ({ ...newEvent(), type: 'odd' })

test('a group of appends is written one by one if SQLite refuses one of them', async () => {
  const { file, db, group, stored } = await openBoth()
  db.exec(`CREATE TRIGGER poison BEFORE INSERT ON events WHEN new.type = 'odd'
    BEGIN SELECT RAISE(ABORT, 'poisoned'); END`)
  const refused = { type: 'store_failed', message: expect.stringMatching(`${file}.*poisoned`) }
  expect(await group(['a', told()], ['b', odd()], ['b', told()], ['a', told()])).toEqual([
    { revision: 0 },
    refused,
    { revision: 0 },
    { revision: 1 },
  ])
  expect(stored()).toEqual(['a@0 #1', 'b@0 #2', 'a@1 #3'])
})

test('a group whose commit fails leaves no trace, and the next one is written', async () => {
  const { db, group, stored } = await openBoth()
  db.exec(`
    CREATE TABLE allowed (type TEXT PRIMARY KEY) STRICT;
    CREATE TABLE checked (type TEXT REFERENCES allowed DEFERRABLE INITIALLY DEFERRED) STRICT;
    CREATE TRIGGER checking AFTER INSERT ON events WHEN new.type = 'odd'
    BEGIN INSERT INTO checked VALUES (new.type); END`)
  const failed = { type: 'store_failed' }
  expect(await group(['a', told()], ['b', odd()])).toMatchObject([failed, failed])
  expect(stored()).toEqual([])
  await group(['a', told()])
  expect(stored()).toEqual(['a@0 #1'])
})

test('times in the log never run backwards, whatever the clock does', async () => {
  const { db, group } = await openBoth()
  await group(['a', told()])
  const created = Date.now() + 1e9
  db.exec(`UPDATE events SET created = ${created}`)
  await group(['a', told()])
  expect(db.prepare('SELECT created FROM events').all()).toEqual([{ created }, { created }])
})
