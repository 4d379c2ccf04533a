import { expect, test } from 'vitest'
import { type EventStore, MAX_PAGE, type ReadOptions } from '../../../src/store/event-store.ts'
import { append, dense, newEvent, numbered, readAll, revisions, uniqueName } from './support.ts'

/** What a page holds, from either side. */
export function readTests(open: () => EventStore): void {
  const read = async (stream: string, options: ReadOptions): Promise<number[]> =>
    revisions((await open().readStream(stream, options))._unsafeUnwrap())

  test.each(['forward', 'backward'] as const)(
    'a missing stream is not found, %s',
    async (direction) => {
      const stream = uniqueName('missing')
      for (const from of direction === 'forward' ? [0, 7] : (['end', 0, 7] as const)) {
        const missing = await open().readStream(stream, { from, direction, limit: 10 })
        expect(missing._unsafeUnwrapErr()).toEqual({ type: 'stream_not_found', stream })
      }
    },
  )

  test('forward reads are inclusive, limited, and empty past the end', async () => {
    const stream = uniqueName('forward')
    await append(open(), stream, numbered(10))
    const forward = { direction: 'forward' } as const
    expect(await read(stream, { ...forward, from: 0, limit: 3 })).toEqual([0, 1, 2])
    expect(await read(stream, { ...forward, from: 0, limit: 100 })).toEqual(dense(0, 9))
    expect(await read(stream, { ...forward, from: 7, limit: 2 })).toEqual([7, 8])
    expect(await read(stream, { ...forward, from: 9, limit: 2 })).toEqual([9])
    expect(await read(stream, { ...forward, from: 10, limit: 2 })).toEqual([])
    expect(await read(stream, { ...forward, from: 99, limit: 2 })).toEqual([])
  })

  test('backward reads are inclusive, limited, and stop at the beginning', async () => {
    const stream = uniqueName('backward')
    await append(open(), stream, numbered(10))
    const backward = { direction: 'backward' } as const
    expect(await read(stream, { ...backward, from: 'end', limit: 1 })).toEqual([9])
    expect(await read(stream, { ...backward, from: 'end', limit: 4 })).toEqual([9, 8, 7, 6])
    expect(await read(stream, { ...backward, from: 3, limit: 2 })).toEqual([3, 2])
    expect(await read(stream, { ...backward, from: 1, limit: 9 })).toEqual([1, 0])
    expect(await read(stream, { ...backward, from: 0, limit: 9 })).toEqual([0])
  })

  test('a page holds at most MAX_PAGE events, and the pages together are the stream', async () => {
    const stream = uniqueName('pages')
    for (let first = 0; first < MAX_PAGE + 904; first += 500) {
      await append(open(), stream, numbered(500, first))
    }
    const forward = { direction: 'forward', limit: MAX_PAGE + 1000 } as const
    expect(await read(stream, { ...forward, from: 0 })).toEqual(dense(0, MAX_PAGE - 1))
    expect(await read(stream, { ...forward, from: MAX_PAGE })).toEqual(dense(MAX_PAGE, 4999))
    expect(revisions(await readAll(open(), stream, 999))).toEqual(dense(0, 4999))
    const back = await read(stream, { direction: 'backward', from: 'end', limit: 4999 })
    expect(back).toEqual(dense(5000 - MAX_PAGE, 4999).reverse())
  })

  test('an event is read as it was appended, with its place and time', async () => {
    const stream = uniqueName('round-trip')
    const data = {
      text: 'line\nbreak "quoted" \\ \u0000 \u2028 äöü 日本語 🜁',
      numbers: [0, -1, 1.5, 1e21, Number.MAX_SAFE_INTEGER, 0.1 + 0.2],
      nested: { empty: {}, list: [], none: null, yes: true, '': 'empty key' },
      lone: '\ud800',
    }
    const events = [
      newEvent(data, { who: 'Zoë', hash: 'ab'.repeat(32) }),
      newEvent([1, 'two', null]),
    ]
    await append(open(), stream, events)
    const stored = await readAll(open(), stream)
    expect(stored).toHaveLength(2)
    for (const [revision, event] of stored.entries()) {
      expect(event).toEqual({
        ...events[revision],
        stream,
        revision,
        position: expect.stringMatching(/./),
        created: expect.any(Number),
      })
    }
    expect(new Set(stored.map((event) => event.position)).size).toBe(2)
  })

  test('created is in milliseconds since the epoch and never runs backwards', async () => {
    const stream = uniqueName('created')
    for (let n = 0; n < 5; n += 1) await append(open(), stream, numbered(2))
    const created = (await readAll(open(), stream)).map((event) => event.created)
    expect(created).toEqual(created.map(Math.trunc))
    expect(created).toEqual(created.toSorted((a, b) => a - b))
    const century = 100 * 366 * 24 * 3600 * 1000
    expect(Math.abs((created[0] ?? 0) - Date.now())).toBeLessThan(century / 10)
  })

  test('an append can be read as soon as it is acknowledged', async () => {
    const stream = uniqueName('read-own')
    for (let n = 0; n < 50; n += 1) {
      await append(open(), stream, numbered(1))
      expect(await read(stream, { from: 'end', direction: 'backward', limit: 1 })).toEqual([n])
    }
  })

  test('the store answers a ping', async () => {
    expect((await open().ping()).isOk()).toBe(true)
  })
}
