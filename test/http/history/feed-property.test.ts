import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fold } from '../../../src/domain/evolve.ts'
import { present } from '../../../src/domain/present.ts'
import type { Kind, RunRecord } from '../../../src/domain/records.ts'
import { RUN_STATUSES, statusOf } from '../../../src/domain/state.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { eventAt } from '../../../src/log/stream-pages.ts'
import { validAppends } from '../../support/run-records.ts'
import { RunWriter, startTestServer, type TestServer } from '../../support/server.ts'
import { SocketReader } from '../live/watcher.ts'
import { EventReader } from './event-source.ts'
import { framesOf, getLines, getPages, isOfKinds, kindsInQuery } from './support.ts'

type Filter = {
  readonly kinds: string | null
  readonly goal: string | null
  readonly status: string | null
  /** Which of the runs; null is all. */
  readonly runs: readonly number[] | null
}
type Observer = {
  readonly filter: Filter
  /** The one run that it observes; null for all runs, as far as its filter selects them. */
  readonly run: number | null
  readonly over: 'ws' | 'sse'
  /** Whether it asks for what is kept beside the records. */
  readonly meta: boolean
  /** After so many frames the observer leaves and connects again. */
  readonly stays: readonly number[]
  readonly joinsAt: number
  /** Whether it reads nothing for a turn after the first frame of each connection. */
  readonly pauses: boolean
}
type Logged = {
  readonly frame: Record<string, unknown>
  readonly run: number
  readonly kind: Kind
  readonly goal: string
  readonly status: string
}

const filter: fc.Arbitrary<Filter> = fc.record({
  kinds: kindsInQuery,
  goal: fc.option(fc.constantFrom('pytest', 'npm-test', 'shell-goal'), { freq: 2 }),
  status: fc.option(fc.constantFrom(...RUN_STATUSES), { freq: 2 }),
  runs: fc.option(fc.subarray([0, 1, 2], { minLength: 1 }), { freq: 2 }),
})
const how = {
  over: fc.constantFrom('ws', 'sse'),
  meta: fc.boolean(),
  stays: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 3 }),
  joinsAt: fc.nat({ max: 30 }),
  pauses: fc.boolean(),
} as const
const ofRun = fc.record({ run: fc.nat({ max: 2 }), kinds: kindsInQuery, ...how })
const observer: fc.Arbitrary<Observer> = fc.oneof(
  fc.record({ filter, run: fc.constant(null), ...how }),
  ofRun.map(({ run, kinds, ...rest }) => ({
    ...rest,
    run,
    filter: { kinds, goal: null, status: null, runs: [run] },
  })),
)

/** The runs of the appends, in turn. */
const turns = fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 12 })

/** The appends of the runs, interleaved. */
function interleave(runs: readonly RunRecord[][][], turn: readonly number[]) {
  const left = runs.map((appends, run) => ({ run, appends: [...appends] }))
  const order: { run: number; records: RunRecord[] }[] = []
  for (let i = 0; ; i += 1) {
    const open = left.filter(({ appends }) => appends.length > 0)
    const next = open[(turn[i % turn.length] ?? 0) % open.length]
    const records = next?.appends.shift()
    if (next === undefined || records === undefined) break
    order.push({ run: next.run, records })
  }
  return order
}

/** The log that results from the appends, with the state of the run as of each record. */
function logOf(order: ReturnType<typeof interleave>): Logged[] {
  const before = new Map<number, RunRecord[]>()
  return order.flatMap(({ run, records }) =>
    records.map((record) => {
      const all = [...(before.get(run) ?? []), record]
      before.set(run, all)
      const state = fold(all)
      if (state === null) throw new Error('a run has a state')
      const frame: Record<string, unknown> = { ...framesOf(all).at(-1) }
      return { frame, run, kind: record.kind, goal: state.config.goal, status: statusOf(state) }
    }),
  )
}

function naive(log: readonly Logged[], { kinds, goal, status, runs }: Filter) {
  return log
    .filter((at) => isOfKinds(kinds, at))
    .filter((at) => goal === null || at.goal === goal)
    .filter((at) => status === null || at.status === status)
    .filter((at) => runs === null || runs.includes(at.run))
    .map(({ frame }) => frame)
}

/** What an observer asks for. A run has no filters but kinds. */
function searchOf({ filter, run, meta }: Observer, ids: readonly string[]) {
  const { kinds, goal, status, runs } = filter
  const run_id = runs === null || run !== null ? null : runs.map((each) => ids[each]).join(',')
  const asked = { kinds, goal, status, run_id, meta: meta ? 'true' : null }
  return new URLSearchParams(present(asked))
}

type Got = readonly Record<string, unknown>[]

/** Expects these frames, with the id and the metadata of their events if that was asked for. */
async function expectFrames({ store }: TestServer, got: Got, wanted: Got, hasMeta: boolean) {
  expect(got.map(({ cursor: _, id: __, meta: ___, ...frame }) => frame)).toEqual(wanted)
  for (const { run_id, seq, id, meta } of got) {
    const event = (await eventAt(store, streamOf(String(run_id)), Number(seq)))._unsafeUnwrap()
    const kept = hasMeta ? [event?.id, JSON.parse(event?.metadata ?? '')] : [undefined, undefined]
    expect([id, meta]).toEqual(kept)
  }
}

/** What an observer gets over its connections, until it has `wanted`. */
async function observe(
  server: TestServer,
  ids: readonly string[],
  observer: Observer,
  wanted: number,
) {
  const { run, over, stays, pauses } = observer
  const search = searchOf(observer, ids)
  const place = run === null ? 'cursor' : 'seq'
  const got: Record<string, unknown>[] = []
  for (const stay of [...stays, wanted]) {
    const count = Math.min(stay, wanted - got.length)
    if (count === 0) break
    const after = got.at(-1)?.[place]
    if (over === 'ws') {
      const more = after === undefined ? '' : `&after=${after}`
      const path = `${run === null ? '' : `/${ids[run]}`}?${search}${more}`
      const watcher = new SocketReader(server, path, (json) => json as Record<string, unknown>)
      if (pauses) watcher.socket.once('message', () => pauseForATurn(watcher))
      await watcher.have(count)
      got.push(...watcher.frames.slice(0, count))
      watcher.socket.terminate()
    } else {
      const options = after === undefined ? {} : { lastEventId: String(after) }
      const path = run === null ? '/api/events' : `/api/runs/${ids[run]}/events`
      using reader = new EventReader(server, `${path}?${search}`, options)
      await reader.until(({ frames }) => frames.length >= count)
      const events = reader.events.filter(({ type }) => type === 'message')
      expect(events.map(({ id }) => id)).toEqual(reader.frames.map((frame) => `${frame[place]}`))
      got.push(...reader.frames.slice(0, count))
    }
  }
  return got
}

function pauseForATurn({ socket }: SocketReader<unknown>): void {
  socket.pause()
  setImmediate(() => socket.resume())
}

test('observers of a run and of all runs get what a naive filter of the log gives, once and in order, however they join and resume', async () => {
  const run = validAppends(fc.uuid({ version: 4 }), { maxMoves: 20 })
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(run, run, run),
      turns,
      fc.array(observer, { minLength: 1, maxLength: 8 }),
      async (made, turn, observers) => {
        // Small, so that observers fall out of the ring, and pages end in the middle of a run.
        const limits = { ringFrames: 5, ringBytes: 4000, pageBytes: 2000, retryMs: [1, 5] as const }
        const server = await startTestServer({ live: limits })
        try {
          const ids = made.map(() => randomUUID())
          const runs = made.map((appends, i) =>
            appends.map((records) => records.map((r) => ({ ...r, run_id: ids[i] ?? '' }))),
          )
          const order = interleave(runs, turn)
          const log = logOf(order)
          const writers = ids.map((id) => new RunWriter(server.store, id))
          const joining = observers.map((each) => ({ each, wanted: naive(log, each.filter) }))
          const observed: Promise<void>[] = []
          for (let at = 0; at <= order.length; at += 1) {
            for (const { each, wanted } of joining) {
              if (Math.min(each.joinsAt, order.length) !== at) continue
              const got = observe(server, ids, each, wanted.length)
              observed.push(got.then((frames) => expectFrames(server, frames, wanted, each.meta)))
            }
            const next = order[at]
            if (next !== undefined) await writers[next.run]?.append(next.records)
          }
          await Promise.all(observed)
          for (const { each, wanted } of joining) {
            const path = `/api/events?${searchOf({ ...each, run: null }, ids)}`
            await expectFrames(server, await getLines(server, path), wanted, each.meta)
            const { frames } = await getPages(server, `${path}&limit=7`)
            await expectFrames(server, frames, wanted, each.meta)
          }
        } finally {
          await server.stop()
        }
      },
    ),
    { numRuns: 8 },
  )
})
