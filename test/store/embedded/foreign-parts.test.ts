import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { foreignParts } from '../../../src/store/embedded/foreign-parts.ts'
import { append, numbered, readAll } from '../contract/support.ts'
import { openStore, testFolder } from './support.ts'

/** A log in which one event was overwritten twice. */
async function overwrittenLog(): Promise<string> {
  const file = join(await testFolder(), 'log.db')
  const store = await openStore(file)
  await append(store, 'run', numbered(3))
  const [event] = await readAll(store, 'run')
  if (event === undefined) throw new Error('there is no event')
  for (const data of ['{"n":"[redacted]"}', '{"m":"[redacted]"}']) {
    expect((await store.overwrite?.([{ ...event, data }]))?.isOk()).toBe(true)
  }
  await store.close()
  return file
}

function change(file: string, sql: string): void {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}

const partsOf = (file: string) => foreignParts(file, () => true)._unsafeUnwrap()

test('a log with overwritten events has only what a server makes', async () => {
  expect(partsOf(await overwrittenLog())).toEqual([])
})

const COPY = 'INSERT INTO rewritten (position, data, metadata) SELECT'

test.each([
  [
    'beside an event that was not overwritten',
    `${COPY} position, data, '{}' FROM events LIMIT 1 OFFSET 2`,
  ],
  ['of no event', `${COPY} 99, data, '{}' FROM rewritten LIMIT 1 OFFSET 1`],
  ['under a newer one', `${COPY} position, data, '{}' FROM rewritten ORDER BY id DESC LIMIT 1`],
  [
    'whose event still has its salt',
    `UPDATE events SET metadata = '{"salt":"ab"}' WHERE position = 1`,
  ],
])('a text %s is found', async (_, sql) => {
  const file = await overwrittenLog()
  change(file, sql)
  expect(partsOf(file)).toEqual([
    'its table rewritten has 1 row that no server makes or leaves there',
  ])
})

test('a stream that lost all its events is found', async () => {
  const file = await overwrittenLog()
  change(file, "INSERT INTO streams (name) VALUES ('run-1')")
  expect(partsOf(file)).toEqual(['it has the stream "run-1", without its events'])
})
