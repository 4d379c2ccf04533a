import { EventEmitter } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { follow } from '../../../src/store/eventstoredb/follow.ts'
import type { ReadCall } from '../../../src/store/eventstoredb/protocol.ts'
import type { Source } from '../../../src/store/eventstoredb/sources.ts'
import { observe } from '../contract/support.ts'

/** A call whose messages the test sends. */
class Sent extends EventEmitter {
  resume = () => this
  cancel = () => {}

  events(...revisions: readonly number[]): void {
    for (const revision of revisions) {
      const recorded = { stream: 'run-1', type: 'tested', revision }
      this.emit('data', { type: 'event', event: { recorded } })
    }
  }
}

/** A subscription to a stream, of which the test sends the events and answers how far it goes. */
async function followed() {
  const call = new Sent()
  const questions: PromiseWithResolvers<bigint | null>[] = []
  const source: Source<bigint> = {
    name: 'run-1',
    connect: async () => call as unknown as ReadCall,
    placeOf: ({ recorded }) => BigInt(recorded.revision),
    placeInLog: () => null,
    isAfter: (place, other) => other === null || place > other,
    head: () => {
      const question = Promise.withResolvers<bigint | null>()
      questions.push(question)
      return question.promise
    },
  }
  const observer = observe((signal) => follow(source, null, { signal, log: () => {} }))
  onTestFinished(() => observer.stop())
  await vi.waitFor(() => expect(call.listenerCount('data')).toBe(1))
  return { call, questions, observer }
}

test('the first event of an append that comes while the end is asked for is delivered after caught_up', async () => {
  const { call, questions, observer } = await followed()
  call.events(0, 1, 2, 3)
  questions[0]?.resolve(2n)
  await observer.untilEvents(4)
  call.events(4, 5)
  await observer.untilEvents(6)
  expect(observer.caughtUpAt).toEqual([3])
})

test('if the end cannot be learned, events are delivered all the same', async () => {
  const { call, questions, observer } = await followed()
  call.events(0, 1)
  questions[0]?.reject(new Error('no answer'))
  await observer.untilEvents(2)
  expect(observer.caughtUpAt).toEqual([])
})

test('beside a writer that never stops, the end is asked for five times at most', async () => {
  const { call, questions, observer } = await followed()
  let now = performance.now()
  // Each answer is old when it is looked at.
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 1_000
    return now
  })
  onTestFinished(() => clock.mockRestore())
  for (let asked = 1; asked <= 5; asked += 1) {
    await vi.waitFor(() => expect(questions).toHaveLength(asked))
    call.events(asked - 1, asked)
    questions[asked - 1]?.resolve(BigInt(asked - 1))
  }
  await observer.untilCaughtUp()
  expect(questions).toHaveLength(5)
  expect(observer.caughtUpAt).toEqual([5])
})
