import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { EventStore, Overwrite, RecordedEvent } from '../../../src/store/event-store.ts'
import { append, numbered, observeStream, readAll, uniqueName } from './support.ts'

const replaced = (event: RecordedEvent | undefined, text: string): Overwrite => {
  if (event === undefined) throw new Error('there is no such event')
  return { ...event, data: JSON.stringify({ text }), metadata: JSON.stringify({ about: text }) }
}

/** What a store that can change an event does, and what it leaves as it is. */
export function overwriteTests(open: () => EventStore): void {
  /** The store, if it can overwrite. */
  const able = () => {
    const store = open()
    const { overwrite } = store
    return overwrite === undefined ? null : { store, overwrite: overwrite.bind(store) }
  }

  test('an event is read in its new form, with its place and id, after each overwrite', async ({
    skip,
  }) => {
    const { store, overwrite } = able() ?? skip()
    const stream = uniqueName('overwritten')
    await append(store, stream, numbered(5))
    const before = await readAll(store, stream)
    const [first, third] = [replaced(before[0], 'ö'), replaced(before[2], 'x'.repeat(10_000))]
    expect((await overwrite([first, third])).isOk()).toBe(true)
    expect((await overwrite([third])).isOk()).toBe(true)
    const once = [{ ...before[0], ...first }, before[1], { ...before[2], ...third }]
    expect(await readAll(store, stream)).toEqual([...once, ...before.slice(3)])
    const shorter = replaced(before[2], '')
    expect((await overwrite([shorter])).isOk()).toBe(true)
    const events = await observeStream(store, stream).stopAfter(5)
    expect(events).toEqual([...once.with(2, { ...before[2], ...shorter }), ...before.slice(3)])
    const back = { from: 'end', direction: 'backward', limit: 5 } as const
    const read = (await store.readStream(stream, back))._unsafeUnwrap()
    expect(read).toEqual(events.toReversed())
  })

  test('if another event is in its place, none of the events is changed', async ({ skip }) => {
    const { store, overwrite } = able() ?? skip()
    const stream = uniqueName('others')
    await append(store, stream, numbered(2))
    const before = await readAll(store, stream)
    const good = replaced(before[0], 'new')
    const wrong = [
      { ...replaced(before[1], 'new'), id: randomUUID() },
      { ...replaced(before[1], 'new'), revision: 2 },
      { ...replaced(before[1], 'new'), stream: uniqueName('none') },
    ]
    for (const each of wrong) {
      const { stream: place, revision } = each
      const refused = (await overwrite([good, each]))._unsafeUnwrapErr()
      expect(refused).toEqual({ type: 'other_event', stream: place, revision })
    }
    expect(await readAll(store, stream)).toEqual(before)
    await append(store, stream, numbered(1, 2), 1)
    expect(await readAll(store, stream)).toHaveLength(3)
  })
}
