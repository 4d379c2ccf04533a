import { expect, test } from 'vitest'
import type { EventStore } from '../../../src/store/event-store.ts'
import { append, numbered, observeStream, readAll, uniqueName } from './support.ts'

/** What is left of a stream that is removed for ever: nothing that can be read, and no place for anything else. */
export function removalTests(store: () => EventStore): void {
  /** How the store removes a stream, if it is one with which retention does that. */
  const able = () => {
    const { removeStream } = store()
    return removeStream === undefined ? null : removeStream.bind(store())
  }

  test('a stream is removed only if it ends where it is said to, and then for ever', async ({
    skip,
  }) => {
    const remove = able() ?? skip()
    const [stream, other] = [uniqueName('removed'), uniqueName('beside')]
    await append(store(), stream, numbered(3))
    await append(store(), other, numbered(2))
    for (const last of [1, 3]) {
      expect((await remove(stream, last))._unsafeUnwrapErr()).toMatchObject({
        type: 'wrong_expected_revision',
        actual: 2,
      })
    }
    expect(await readAll(store(), stream)).toHaveLength(3)
    expect((await remove(stream, 2)).isOk()).toBe(true)
    expect((await remove(stream, 2)).isOk()).toBe(true)
    for (const direction of ['forward', 'backward'] as const) {
      const options = { from: 'end', direction, limit: 9 } as const
      const read = await store().readStream(stream, options)
      expect(read._unsafeUnwrapErr()).toEqual({ type: 'stream_not_found', stream })
    }
    const events = await observeStream(store(), stream).stopAfter()
    expect(events).toEqual([])
    for (const expectedRevision of ['any', 'no_stream', 2] as const) {
      const refused = await store().append(stream, numbered(1, 3), { expectedRevision })
      expect(refused._unsafeUnwrapErr()).toMatchObject({ type: 'store_failed' })
    }
    expect(await readAll(store(), other)).toHaveLength(2)
    expect(await append(store(), other, numbered(1, 2), 1)).toBe(2)
  })

  test('a stream that never was cannot be removed', async ({ skip }) => {
    const remove = able() ?? skip()
    expect((await remove(uniqueName('never'), 0))._unsafeUnwrapErr()).toMatchObject({
      type: 'wrong_expected_revision',
      actual: 'no_stream',
    })
  })
}
