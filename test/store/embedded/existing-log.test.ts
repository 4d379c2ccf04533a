import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { foreignParts } from '../../../src/store/embedded/existing-log.ts'
import { append, numbered, readAll } from '../contract/support.ts'
import { openStore, testFolder } from './support.ts'

test('a stream that lost all its events is found, and events that were overwritten are not foreign', async () => {
  const file = join(await testFolder(), 'log.db')
  const store = await openStore(file)
  await append(store, 'run', numbered(3))
  const [event] = await readAll(store, 'run')
  if (event === undefined) throw new Error('there is no event')
  for (const data of ['{"n":"[redacted]"}', '{"m":"[redacted]"}']) {
    expect((await store.overwrite?.([{ ...event, data }]))?.isOk()).toBe(true)
  }
  await store.close()
  const partsOf = () => foreignParts(file, () => true)._unsafeUnwrap()
  expect(partsOf()).toEqual([])
  const db = new DatabaseSync(file)
  db.exec("INSERT INTO streams (name) VALUES ('run-1')")
  db.close()
  expect(partsOf()).toEqual(['it has the stream "run-1", without its events'])
})
