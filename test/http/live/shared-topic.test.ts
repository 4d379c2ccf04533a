import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { LIVE_LIMITS } from '../../../src/http/live/deps.ts'
import { type Frame, framesOf } from '../../../src/http/live/frame.ts'
import { SharedTopic, type TopicSource } from '../../../src/http/live/shared-topic.ts'
import type { RecordedEvent, Subscription } from '../../../src/store/event-store.ts'

const readModel = { get: () => null, caughtUp: true, waitFor: async () => true }
const stream = `run-${randomUUID()}`
const event = (revision: number): RecordedEvent => ({
  ...{ id: randomUUID(), type: 'odd', data: '{}', metadata: '{}', stream, revision },
  ...{ position: String(revision), created: 0 },
})

/** A topic of two stored records. Its stored part ends after each `pause`. */
function topicOf(pause: () => Promise<void> = async () => {}) {
  let deliver: (events: readonly RecordedEvent[]) => void = () => {}
  const counts = { subscriptions: 0, idle: 0 }
  async function* subscribe(): AsyncGenerator<{ type: 'events'; events: RecordedEvent[] }> {
    counts.subscriptions += 1
    for (;;) {
      const events = await new Promise<readonly RecordedEvent[]>((resolve) => {
        deliver = resolve
      })
      yield { type: 'events', events: [...events] }
    }
  }
  const source: TopicSource<number> = {
    logFields: {},
    ofAll: false,
    async *stored(after, form) {
      const events = [event(0), event(1)].filter(({ revision }) => revision > after)
      yield framesOf(events, { form, ofAll: false, readModel })
      await pause()
      yield null
    },
    subscribe: () => subscribe() as unknown as Subscription,
    cursorOf: ({ seq }) => seq,
    onIdle: () => {
      counts.idle += 1
    },
  }
  const log = { error: (fields: unknown) => expect(fields).toBeUndefined() }
  const topic = new SharedTopic(source, {
    ...{ readModel, limits: LIVE_LIMITS, log: log as never },
    asOfNow: (event) => event,
  })
  return { topic, counts, append: (seq: number) => deliver([event(seq)]) }
}

class Reader {
  readonly form = 'record'
  cursor = -1
  isCaughtUp = false
  readonly news = Promise.withResolvers<void>()
  onNews = () => this.news.resolve()

  read(frames: readonly Frame[] | null): number[] | undefined {
    this.cursor = frames?.at(-1)?.seq ?? this.cursor
    return frames?.map(({ seq }) => seq)
  }
}

test('a follower catches up, is called when there are new records, and gets each once', async () => {
  const { topic, counts, append } = topicOf()
  const reader = new Reader()
  topic.join(reader)
  expect(topic.take(reader)).toBeNull()
  const pages: unknown[] = []
  for await (const page of topic.catchUp(reader, new AbortController().signal)) {
    pages.push(reader.read(page))
  }
  expect(pages).toEqual([[0, 1], []])
  expect(reader.read(topic.take(reader))).toEqual([])
  append(2)
  await reader.news.promise
  expect(reader.read(topic.take(reader))).toEqual([2])
  expect(reader.read(topic.take(reader))).toEqual([])
  topic.forget()
  expect(topic.take(reader)).toBeNull()
  topic.leave(reader)
  expect(counts).toEqual({ subscriptions: 1, idle: 1 })
})

test('a follower that reads only a part of a page gets the rest again', async () => {
  const { topic } = topicOf()
  const reader = new Reader()
  topic.join(reader)
  const got: number[] = []
  for await (const [first] of topic.catchUp(reader, new AbortController().signal)) {
    if (first !== undefined) got.push(...(reader.read([first]) ?? []))
  }
  expect(got).toEqual([0, 1])
  topic.leave(reader)
})

test('a follower that leaves while it reads opens no subscription', async () => {
  const leave = new AbortController()
  const reader = new Reader()
  const { topic, counts } = topicOf(async () => {
    topic.leave(reader)
    leave.abort()
  })
  topic.join(reader)
  for await (const page of topic.catchUp(reader, leave.signal)) reader.read(page)
  expect([reader.cursor, counts]).toEqual([1, { subscriptions: 0, idle: 1 }])
})
