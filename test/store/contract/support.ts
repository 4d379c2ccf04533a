import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type {
  EventStore,
  ExpectedRevision,
  NewEvent,
  Position,
  RecordedEvent,
  Revision,
  Subscription,
  SubscriptionItem,
} from '../../../src/store/event-store.ts'

/** A name that no other test uses, also on a server that many share. */
export const uniqueName = (label: string): string => `contract-${label}-${randomUUID()}`

export function newEvent(data: unknown = {}, metadata: unknown = {}): NewEvent {
  return {
    id: randomUUID(),
    type: 'tested',
    data: JSON.stringify(data),
    metadata: JSON.stringify(metadata),
  }
}

/** Events whose data is their number: `{n: 0}`, `{n: 1}` … from `first` on. */
export function numbered(count: number, first = 0): NewEvent[] {
  return Array.from({ length: count }, (_, i) => newEvent({ n: first + i }))
}

/** Appends and returns the revision; any error fails the test. */
export async function append(
  store: EventStore,
  stream: string,
  events: readonly NewEvent[],
  expectedRevision: ExpectedRevision = 'any',
): Promise<Revision> {
  const appended = await store.append(stream, events, { expectedRevision })
  if (appended.isErr()) throw new Error(`append: ${JSON.stringify(appended.error)}`)
  return appended.value.revision
}

/** All events of a stream, read page by page; any error fails the test. */
export async function readAll(
  store: EventStore,
  stream: string,
  page = 1000,
): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = []
  for (;;) {
    const options = { from: events.length, direction: 'forward', limit: page } as const
    const read = await store.readStream(stream, options)
    if (read.isErr()) throw new Error(`read: ${JSON.stringify(read.error)}`)
    events.push(...read.value)
    if (read.value.length < page) return events
  }
}

export const revisions = (events: readonly RecordedEvent[]): Revision[] =>
  events.map((event) => event.revision)

/** first, first + 1 … last; empty when last is below first. */
export const dense = (first: Revision, last: Revision): Revision[] =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i)

/** A subscriber that takes what comes, in the background, and can be asked to wait for something. */
export type Observer = {
  readonly items: SubscriptionItem[]
  readonly events: RecordedEvent[]
  /** How many events had been delivered at each `caught_up`. */
  readonly caughtUpAt: number[]
  /** Resolves as soon as `reached` holds; rejects when the subscription ends or fails before. */
  until(reached: () => boolean): Promise<void>
  untilEvents(count: number): Promise<void>
  untilCaughtUp(): Promise<void>
  /** Aborts; resolves when the iteration has ended, rejects when it did not end normally. */
  stop(): Promise<void>
  /** Waits for so many events, or to be caught up, and stops. Resolves to what was delivered. */
  stopAfter(count?: number): Promise<readonly RecordedEvent[]>
}

export function observe(
  subscribe: (signal: AbortSignal) => Subscription,
  beforeNext: () => Promise<void> | undefined = () => undefined,
): Observer {
  const controller = new AbortController()
  const items: SubscriptionItem[] = []
  const events: RecordedEvent[] = []
  const caughtUpAt: number[] = []
  let check = (): void => {}
  const take = async (): Promise<void> => {
    for await (const item of subscribe(controller.signal)) {
      items.push(item)
      if (item.type === 'events') events.push(...item.events)
      if (item.type === 'caught_up') caughtUpAt.push(events.length)
      check()
      await beforeNext()
    }
  }
  const ended = take()
  ended.catch(() => {})

  const until = async (reached: () => boolean): Promise<void> => {
    if (reached()) return
    const holds = new Promise<void>((resolve) => {
      const before = check
      check = () => {
        before()
        if (reached()) resolve()
      }
    })
    const tooEarly = ended.then(() => {
      if (!reached()) throw new Error(`the subscription ended after ${events.length} events`)
    })
    await Promise.race([holds, tooEarly])
  }
  const untilEvents = (count: number) => until(() => events.length >= count)
  const untilCaughtUp = () => until(() => caughtUpAt.length > 0)
  const stop = () => {
    controller.abort()
    return ended
  }
  const stopAfter = async (count?: number) => {
    await (count === undefined ? untilCaughtUp() : untilEvents(count))
    await stop()
    return events
  }
  return { items, events, caughtUpAt, until, untilEvents, untilCaughtUp, stop, stopAfter }
}

export const observeStream = (
  store: EventStore,
  stream: string,
  after: Revision = -1,
  beforeNext?: () => Promise<void> | undefined,
): Observer => observe((signal) => store.subscribeStream(stream, { after, signal }), beforeNext)

export const observeAll = (
  store: EventStore,
  prefix: string,
  after: Position | null = null,
): Observer => observe((signal) => store.subscribeAll({ after, prefix, signal }))

/** Each event once, in the order of revisions, without a gap: `after + 1` to `last`. */
export function expectDense(observer: Observer, after: Revision, last: Revision): void {
  expect(revisions(observer.events)).toEqual(dense(after + 1, last))
}
