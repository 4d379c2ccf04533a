import { expect, test } from 'vitest'
import {
  type EventStore,
  type ExpectedRevision,
  MAX_APPEND_BYTES,
  type NewEvent,
} from '../../../src/store/event-store.ts'
import { append, dense, newEvent, numbered, readAll, revisions, uniqueName } from './support.ts'

/** Why an append is refused. */
const refused = async (
  store: EventStore,
  stream: string,
  events: readonly NewEvent[],
  expectedRevision: ExpectedRevision,
) => (await store.append(stream, events, { expectedRevision }))._unsafeUnwrapErr()

const wrong = (expected: ExpectedRevision, actual: number | 'no_stream') => {
  return { type: 'wrong_expected_revision', expected, actual }
}

/** What an append does to a stream, and what it answers. */
export function appendTests(open: () => EventStore): void {
  test('revisions begin at 0 and rise by 1; an append returns the revision of its last event', async () => {
    const stream = uniqueName('revisions')
    expect(await append(open(), stream, numbered(1), 'no_stream')).toBe(0)
    expect(await append(open(), stream, numbered(3, 1), 0)).toBe(3)
    expect(await append(open(), stream, numbered(1, 4), 3)).toBe(4)
    const events = await readAll(open(), stream)
    expect(revisions(events)).toEqual(dense(0, 4))
    expect(events.map((event) => JSON.parse(event.data).n)).toEqual(dense(0, 4))
  })

  test('"any" appends to a new and to an existing stream', async () => {
    const stream = uniqueName('any')
    expect(await append(open(), stream, numbered(2), 'any')).toBe(1)
    expect(await append(open(), stream, numbered(1), 'any')).toBe(2)
  })

  test.each([0, 1, 5])('exact revision %i on a missing stream names no_stream', async (given) => {
    const stream = uniqueName('missing')
    expect(await refused(open(), stream, numbered(1), given)).toEqual(wrong(given, 'no_stream'))
  })

  test.each(['no_stream', 0, 1, 3, 9] as const)(
    '%s on a stream at 2 is refused, names 2 and leaves no trace',
    async (given) => {
      const stream = uniqueName('exact')
      await append(open(), stream, numbered(3))
      expect(await refused(open(), stream, numbered(2), given)).toEqual(wrong(given, 2))
      expect(await readAll(open(), stream)).toHaveLength(3)
      expect(await append(open(), stream, numbered(1), 2)).toBe(3)
    },
  )

  test('of concurrent appends with the same expected revision, exactly one succeeds', async () => {
    const stream = uniqueName('race')
    await append(open(), stream, numbered(1))
    const appends = Array.from({ length: 16 }, () => numbered(2))
    const results = await Promise.all(
      appends.map((events) => open().append(stream, events, { expectedRevision: 0 })),
    )
    const won = appends.filter((_, i) => results[i]?.isOk())
    expect(won).toHaveLength(1)
    for (const result of results.filter((result) => result.isErr())) {
      expect(result._unsafeUnwrapErr()).toEqual(wrong(0, 2))
    }
    const stored = await readAll(open(), stream)
    expect(stored.slice(1).map((event) => event.id)).toEqual(won.flat().map((event) => event.id))
  })

  test('the events of one append are consecutive, however many writers append at once', async () => {
    const stream = uniqueName('atomic')
    const appends = Array.from({ length: 20 }, (_, writer) =>
      Array.from({ length: 5 }, (_, n) => newEvent({ writer, n })),
    )
    const last = await Promise.all(appends.map((events) => append(open(), stream, events)))
    const stored = await readAll(open(), stream)
    expect(revisions(stored)).toEqual(dense(0, 99))
    for (const [writer, events] of appends.entries()) {
      const end = (last[writer] ?? -1) + 1
      const ids = stored.slice(end - 5, end).map((event) => event.id)
      expect(ids).toEqual(events.map((event) => event.id))
    }
  })

  test('an append at the size limit succeeds, one byte more is refused and leaves no trace', async () => {
    const stream = uniqueName('limit')
    const frame = JSON.stringify({ x: '' }).length + '{}'.length
    const full = newEvent({ x: 'x'.repeat(MAX_APPEND_BYTES - frame) })
    const over = newEvent({ x: 'x'.repeat(MAX_APPEND_BYTES - frame + 1) })
    expect(await refused(open(), stream, [over], 'no_stream')).toEqual({
      type: 'append_too_large',
      bytes: MAX_APPEND_BYTES + 1,
      limit: MAX_APPEND_BYTES,
    })
    expect(await append(open(), stream, [full], 'no_stream')).toBe(0)
    expect((await readAll(open(), stream)).map((event) => event.id)).toEqual([full.id])
  })

  test('the size of an append counts all of its events, data and metadata, in bytes of UTF-8', async () => {
    const half = 'ä'.repeat(MAX_APPEND_BYTES / 4)
    const events = [newEvent({ x: half }), newEvent({}, { x: half })]
    expect(await refused(open(), uniqueName('bytes'), events, 'any')).toEqual({
      type: 'append_too_large',
      bytes: MAX_APPEND_BYTES + 2 * JSON.stringify({ x: '' }).length + 2 * '{}'.length,
      limit: MAX_APPEND_BYTES,
    })
  })
}

/** The same append again counts as one append; anything similar does not. */
export function idempotenceTests(open: () => EventStore): void {
  test.each([0, 2])(
    'an append that is repeated at revision %i succeeds with the original revision',
    async (length) => {
      const stream = uniqueName('again')
      if (length > 0) await append(open(), stream, numbered(length))
      const expected = length === 0 ? 'no_stream' : length - 1
      const events = numbered(3)
      const last = length + 2
      for (const _ of [1, 2]) expect(await append(open(), stream, events, expected)).toBe(last)
      await append(open(), stream, numbered(1), last)
      expect(await append(open(), stream, events, expected)).toBe(last)
      expect(await readAll(open(), stream)).toHaveLength(length + 4)
    },
  )

  test('the same append from two sides at once is stored once, and both succeed', async () => {
    const stream = uniqueName('again-at-once')
    const events = numbered(3)
    const both = await Promise.all([
      append(open(), stream, events, 'no_stream'),
      append(open(), stream, events, 'no_stream'),
    ])
    expect(both).toEqual([2, 2])
    expect(await readAll(open(), stream)).toHaveLength(3)
  })

  test('other ids, known ids at another place, and only some known ids are refused', async () => {
    const stream = uniqueName('partial')
    const [first, second] = [newEvent(), newEvent()]
    await append(open(), stream, [first, second], 'no_stream')
    for (const similar of [
      [newEvent(), newEvent()],
      [second],
      [first, second, newEvent()],
      [first, newEvent()],
      [newEvent(), second],
    ]) {
      expect(await refused(open(), stream, similar, 'no_stream')).toEqual(wrong('no_stream', 1))
    }
    expect(await readAll(open(), stream)).toHaveLength(2)
  })

  test('an id is not unique across streams', async () => {
    const events = numbered(2)
    const [one, two] = [uniqueName('one'), uniqueName('two')]
    await append(open(), one, events, 'no_stream')
    await append(open(), two, events, 'no_stream')
    expect(await readAll(open(), two)).toHaveLength(2)
  })
}
