import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EventStore } from '../../../src/store/event-store.ts'
import {
  append,
  dense,
  expectDense,
  numbered,
  type Observer,
  observeAll,
  observeStream,
  revisions,
  uniqueName,
} from './support.ts'

const STREAMS = 3

type Step =
  | { readonly do: 'append'; readonly stream: number; readonly count: number }
  /** `at` from 0 to 1: how far into the stream the observer joins. */
  | { readonly do: 'join'; readonly stream: number; readonly at: number }
  | { readonly do: 'join_all' }
  | { readonly do: 'leave'; readonly which: number }
  /** Waits for all appends so far. Other steps do not wait. */
  | { readonly do: 'settle' }

const stream = fc.nat({ max: STREAMS - 1 })
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('append' as const),
        stream,
        count: fc.integer({ min: 1, max: 40 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('join' as const),
        stream,
        at: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ do: 'join_all' as const }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('leave' as const), which: fc.nat({ max: 20 }) }),
    },
    { weight: 2, arbitrary: fc.constant({ do: 'settle' as const }) },
  ),
  { minLength: 1, maxLength: 40 },
)

type Joined = {
  readonly observer: Observer
  readonly stream: number | 'all'
  readonly after: number
}

/** Runs the steps on fresh streams and checks what every observer saw, also those that left. */
async function play(store: EventStore, script: readonly Step[]): Promise<void> {
  const prefix = uniqueName('property')
  const name = (index: number): string => `${prefix}-${index}`
  const counts = new Array<number>(STREAMS).fill(0)
  const present: Joined[] = []
  const left: Joined[] = []
  let pending: Promise<unknown>[] = []

  for (const step of script) {
    if (step.do === 'append') {
      counts[step.stream] = (counts[step.stream] ?? 0) + step.count
      pending.push(append(store, name(step.stream), numbered(step.count)))
    } else if (step.do === 'join') {
      const after = Math.floor(step.at * (counts[step.stream] ?? 0)) - 1
      const observer = observeStream(store, name(step.stream), after)
      present.push({ observer, stream: step.stream, after })
    } else if (step.do === 'join_all') {
      present.push({ observer: observeAll(store, prefix), stream: 'all', after: -1 })
    } else if (step.do === 'leave') {
      const [leaving] = present.splice(step.which % Math.max(1, present.length), 1)
      if (leaving === undefined) continue
      await leaving.observer.stop()
      left.push(leaving)
    } else {
      await Promise.all(pending)
      pending = []
    }
  }
  await Promise.all(pending)

  const total = counts.reduce((sum, count) => sum + count, 0)
  for (const { observer, stream, after } of present) {
    const last = stream === 'all' ? total - 1 : (counts[stream] ?? 0) - 1
    await observer.stopAfter(last - after)
    if (stream !== 'all') expectDense(observer, after, last)
  }
  for (const { observer, stream, after } of left) {
    if (stream !== 'all') expectDense(observer, after, after + observer.events.length)
  }
  const everything = [...present, ...left].filter((joined) => joined.stream === 'all')
  for (const { observer } of everything) {
    for (const [name, events] of Map.groupBy(observer.events, (event) => event.stream)) {
      expect(revisions(events), name).toEqual(dense(0, events.length - 1))
    }
    const longest = present.find((joined) => joined.stream === 'all')?.observer ?? observer
    expect(observer.events).toEqual(longest.events.slice(0, observer.events.length))
  }
}

/** Whenever observers join and leave, each gets exactly the events after the place where it joined. */
export function propertyTests(open: () => EventStore, runs: number): void {
  test(`random appends, joins and leaves (${runs} runs)`, { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(steps, (script) => play(open(), script)),
      { numRuns: runs, interruptAfterTimeLimit: 240_000, endOnFailure: true },
    )
  })
}
