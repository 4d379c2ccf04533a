import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { LIVE_LIMITS } from '../../../src/http/live/deps.ts'
import { framesOf } from '../../../src/http/live/frame.ts'
import { SharedTopic, type TopicSource } from '../../../src/http/live/shared-topic.ts'
import type { RecordedEvent, Subscription } from '../../../src/store/event-store.ts'

const readModel = { get: () => null, caughtUp: true, waitFor: async () => true }
const stream = `run-${randomUUID()}`
const event = (revision: number): RecordedEvent => ({
  id: randomUUID(),
  type: 'odd',
  data: '{}',
  metadata: '{}',
  stream,
  revision,
  position: String(revision),
  created: 0,
})

/** A topic of two stored records. Its stored part ends after `pause`. */
function topicOf(pause: () => Promise<void>) {
  const counts = { subscriptions: 0, idle: 0 }
  const source: TopicSource<number> = {
    logFields: {},
    ofAll: false,
    async *stored(after, form) {
      const events = [event(0), event(1)].filter(({ revision }) => revision > after)
      yield framesOf(events, { form, ofAll: false, readModel })
      await pause()
      yield null
    },
    subscribe: () => {
      counts.subscriptions += 1
      return [] as unknown as Subscription
    },
    cursorOf: ({ seq }) => seq,
    onIdle: () => {
      counts.idle += 1
    },
  }
  const log = { error: (fields: unknown) => expect(fields).toBeUndefined() }
  const topic = new SharedTopic(source, {
    readModel,
    limits: LIVE_LIMITS,
    log: log as never,
    asOfNow: (event) => event,
  })
  return { topic, counts }
}

test('a follower that leaves while it reads opens no subscription', async () => {
  const leave = new AbortController()
  const reader = { form: 'record' as const, cursor: -1, isCaughtUp: false, onNews: () => {} }
  const { topic, counts } = topicOf(async () => {
    topic.leave(reader)
    leave.abort()
  })
  topic.join(reader)
  for await (const page of topic.catchUp(reader, leave.signal)) {
    reader.cursor = page.at(-1)?.seq ?? reader.cursor
  }
  expect([reader.cursor, counts]).toEqual([1, { subscriptions: 0, idle: 1 }])
})
