import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import type { EventStore, Overwrite } from '../../../src/store/event-store.ts'
import { append, newEvent, numbered, readAll } from '../contract/support.ts'
import { openStore, testFolder } from './support.ts'

const logFile = async () => join(await testFolder(), 'log.db')

/** A text that can be found in the files of a store wherever it is left. */
const secret = () => `secret-${randomBytes(12).toString('hex')}`

async function bytesIn(file: string): Promise<string> {
  const folder = dirname(file)
  const files = await Promise.all(
    (await readdir(folder)).map((name) => readFile(join(folder, name))),
  )
  return Buffer.concat(files).toString('latin1')
}

async function overwrite(store: EventStore, events: readonly Overwrite[]): Promise<void> {
  if (store.overwrite === undefined) throw new Error('the store cannot overwrite')
  expect(await store.overwrite(events)).toMatchObject({ value: undefined })
}

const shuffled = <T>(items: readonly T[]): T[] =>
  items
    .map((item) => ({ item, by: Math.random() }))
    .sort((a, b) => a.by - b.by)
    .map(({ item }) => item)

/** Events of very different sizes, each with its secret. */
async function fill(store: EventStore, secrets: readonly string[]): Promise<void> {
  for (let at = 0; at < secrets.length; at += 20) {
    const page = secrets.slice(at, at + 20).map((text) => {
      const filler = 'x'.repeat(Math.floor(Math.random() ** 3 * 12_000))
      return newEvent({ filler, text }, { salt: text })
    })
    await append(store, 'run', page)
  }
}

const without = (event: Overwrite): Overwrite => {
  const salts = randomBytes(Math.floor(Math.random() * 1500)).toString('hex')
  return { ...event, data: '{"text":"[redacted]"}', metadata: JSON.stringify({ salts }) }
}

test('nothing of an overwritten event is left in any file, however often it is overwritten', async () => {
  const file = await logFile()
  const store = await openStore(file)
  const secrets = Array.from({ length: 240 }, secret)
  await fill(store, secrets)
  const events = await readAll(store, 'run')
  const gone = shuffled(events).slice(0, 150)
  const second = new Map(gone.map(({ id }) => [id, secret()]))
  for (let at = 0; at < gone.length; at += 25) {
    const some = gone.slice(at, at + 25)
    const firstForm = some.map((event) => {
      const data = JSON.stringify({ text: '[redacted]', other: second.get(event.id) })
      return { ...without(event), data }
    })
    await overwrite(store, firstForm)
    await overwrite(store, shuffled(some).map(without))
  }
  const bytes = await bytesIn(file)
  const isGone = new Set(gone.map(({ revision }) => revision))
  expect(secrets.filter((text, revision) => isGone.has(revision) && bytes.includes(text))).toEqual(
    [],
  )
  expect([...second.values()].filter((text) => bytes.includes(text))).toEqual([])
  // The texts that are not overwritten are still there. Otherwise, this test could not fail.
  expect(secrets.filter((text) => bytes.includes(text))).toHaveLength(90)
  await store.close()
})

test('appends at the same time and afterwards succeed, and everything is there after a restart', async () => {
  const file = await logFile()
  const store = await openStore(file)
  await fill(store, Array.from({ length: 40 }, secret))
  const events = await readAll(store, 'run')
  const work = [
    ...events.map((event) => overwrite(store, [without(event)])),
    ...numbered(40).map((event) => append(store, 'run', [event])),
  ]
  await Promise.all(shuffled(work))
  const after = await readAll(store, 'run')
  expect(after).toHaveLength(80)
  expect(after.slice(0, 40).every(({ data }) => data === '{"text":"[redacted]"}')).toBe(true)
  await store.close()
  const again = await openStore(file)
  expect(await readAll(again, 'run')).toEqual(after)
  await again.close()
})

test('an overwrite under way is finished before the store closes', async () => {
  const file = await logFile()
  const store = await openStore(file)
  await append(store, 'run', [newEvent({ text: 'old' })])
  const done = overwrite(store, (await readAll(store, 'run')).map(without))
  await store.close()
  await done
  expect(await store.overwrite?.([])).toMatchObject({ error: { type: 'store_unavailable' } })
})

test('while another program reads the file, its write-ahead log cannot be emptied, so the overwrite fails and can be repeated', async () => {
  const file = await logFile()
  const store = await openStore(file)
  const text = secret()
  await append(store, 'run', [newEvent({ text })])
  const reader = new DatabaseSync(file, { readOnly: true })
  reader.exec('BEGIN')
  reader.prepare('SELECT count(*) FROM events').get()
  const changed = (await readAll(store, 'run')).map(without)
  const refused = await store.overwrite?.(changed)
  expect(refused?._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
  expect(await bytesIn(file)).toContain(text)
  await append(store, 'run', numbered(1))
  reader.close()
  await overwrite(store, changed)
  expect(await bytesIn(file)).not.toContain(text)
  await store.close()
})
