import { expect, test } from 'vitest'
import { LIVE_LIMITS } from '../../../src/http/live/limits.ts'
import { seqPlaces } from '../../../src/http/live/ring.ts'
import { SharedTopic, type TopicSource } from '../../../src/http/live/shared-topic.ts'
import type { RecordedEvent, Subscription } from '../../../src/store/event-store.ts'

type Item = { readonly seq: number }

/** A topic of one item for each event. Its stored part ends after each `pause`. */
function topicOf(pause: () => Promise<void> = async () => {}) {
  const stored: Item[] = [{ seq: 0 }, { seq: 1 }]
  let deliver: (events: readonly RecordedEvent[]) => void = () => {}
  const counts = { subscriptions: 0, released: 0 }
  async function* subscribe(): AsyncGenerator<{ type: 'events'; events: RecordedEvent[] }> {
    counts.subscriptions += 1
    for (;;) {
      const events = await new Promise<readonly RecordedEvent[]>((resolve) => {
        deliver = resolve
      })
      yield { type: 'events', events: [...events] }
    }
  }
  const source: TopicSource<number, Item> = {
    logFields: {},
    async *stored(after) {
      yield stored.filter(({ seq }) => seq > after)
      await pause()
      yield null
    },
    subscribe: () => subscribe() as unknown as Subscription,
    itemsOf: (events) => events.map(({ revision }) => ({ seq: revision })),
    cursorOf: ({ seq }) => seq,
    cursorOfEvent: ({ revision }) => revision,
    sizeOf: () => 1,
    placesAfter: seqPlaces,
    released: () => {
      counts.released += 1
    },
  }
  const log = { error: (fields: unknown) => expect(fields).toBeUndefined() }
  const topic = new SharedTopic(source, { limits: LIVE_LIMITS, log: log as never })
  const append = (seq: number) => deliver([{ revision: seq } as RecordedEvent])
  return { topic, counts, append }
}

async function seqsOf(pages: AsyncIterable<readonly Item[]>): Promise<number[]> {
  const seqs: number[] = []
  for await (const page of pages) seqs.push(...page.map(({ seq }) => seq))
  return seqs
}

test('a follower catches up, is called when there are new items, and gets each once', async () => {
  const { topic, counts, append } = topicOf()
  const news = Promise.withResolvers<void>()
  const follower = { form: 'record' as const, cursor: -1, onNews: () => news.resolve() }
  topic.join(follower)
  expect(topic.take(follower)).toBeNull()
  expect(await seqsOf(topic.catchUp(follower, new AbortController().signal))).toEqual([0, 1])
  expect(topic.take(follower)).toEqual([])
  append(2)
  await news.promise
  expect(topic.take(follower)).toEqual([{ seq: 2 }])
  expect([topic.take(follower), follower.cursor]).toEqual([[], 2])
  topic.leave(follower)
  expect(counts).toEqual({ subscriptions: 1, released: 1 })
})

test('a follower that leaves while it reads opens no subscription', async () => {
  const leave = new AbortController()
  const { topic, counts } = topicOf(async () => {
    topic.leave(follower)
    leave.abort()
  })
  const follower = { form: 'record' as const, cursor: -1, onNews: () => {} }
  topic.join(follower)
  expect(await seqsOf(topic.catchUp(follower, leave.signal))).toEqual([0, 1])
  expect(counts).toEqual({ subscriptions: 0, released: 1 })
})
