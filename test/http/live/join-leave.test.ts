import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DOCUMENTED_KINDS, type Kind, type RunRecord } from '../../../src/domain/records.ts'
import { validAppends } from '../../support/run-records.ts'
import { RunWriter, startTestServer, type TestServer } from '../../support/server.ts'
import { type Frame, Watcher } from './watcher.ts'

/** One visit of an observer: it joins after a number of appends, and leaves after a number of frames. */
type Visit = { readonly joinsAt: number; readonly leavesAfter: number }
type Plan = { readonly all: boolean; readonly visits: readonly Visit[]; readonly pause: boolean }

const plan: fc.Arbitrary<Plan> = fc.record({
  all: fc.boolean(),
  visits: fc.array(fc.record({ joinsAt: fc.nat({ max: 40 }), leavesAfter: fc.nat({ max: 30 }) }), {
    maxLength: 4,
  }),
  pause: fc.boolean(),
})

/** The observers wait for the writer, and the writer lets the observers run. */
class Progress {
  #appends = 0
  #done = false
  #waiting: (() => void)[] = []

  advance(done = false): void {
    this.#appends += 1
    this.#done ||= done
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async reaches(appends: number): Promise<void> {
    while (this.#appends < appends && !this.#done) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }
}

describe('observers that come and go', () => {
  let server: TestServer
  beforeAll(async () => {
    // Small, so that observers fall out of the ring, and pages end in the middle of a run.
    server = await startTestServer({ live: { ringFrames: 5, ringBytes: 4000, pageBytes: 2000 } })
  })
  afterAll(() => server.stop())

  async function write(runId: string, appends: RunRecord[][], progress: Progress) {
    const writer = new RunWriter(server.store, runId)
    for (const [index, records] of appends.entries()) {
      await writer.append(records)
      progress.advance(index === appends.length - 1)
    }
  }

  /** All frames that an observer got in its visits; the last visit lasts until it has `wanted`. */
  async function observe(runId: string, plan: Plan, wanted: number, progress: Progress) {
    const got: Frame[] = []
    const last: Visit = { joinsAt: 0, leavesAfter: Number.POSITIVE_INFINITY }
    await progress.reaches(1)
    for (const { joinsAt, leavesAfter } of [...plan.visits, last]) {
      await progress.reaches(joinsAt)
      const after = got.at(-1)?.seq ?? -1
      const watcher = new Watcher(server, `${runId}?after=${after}${plan.all ? '&kinds=all' : ''}`)
      if (plan.pause) watcher.socket.once('message', () => pauseForATurn(watcher))
      const stay = Math.min(leavesAfter, wanted - got.length)
      // A visit may end early only because the run has ended.
      await Promise.race([watcher.have(stay), watcher.closed])
      got.push(...watcher.frames.slice(0, stay))
      watcher.socket.terminate()
    }
    return got
  }

  function pauseForATurn({ socket }: Watcher): void {
    socket.pause()
    setImmediate(() => socket.resume())
  }

  test('get every event once and in order', async () => {
    const runs = validAppends(fc.uuid({ version: 4 }), { maxMoves: 40 })
    await fc.assert(
      fc.asyncProperty(
        runs,
        fc.array(plan, { minLength: 1, maxLength: 6 }),
        async (made, plans) => {
          const runId = crypto.randomUUID()
          const appends = made.map((records) => records.map((r) => ({ ...r, run_id: runId })))
          const logged = appends.flat().map((record, seq) => ({ ...record, seq }))
          const documented: readonly Kind[] = DOCUMENTED_KINDS
          const progress = new Progress()
          const observed = plans.map(async (plan) => {
            const expected = plan.all ? logged : logged.filter((f) => documented.includes(f.kind))
            const got = await observe(runId, plan, expected.length, progress)
            expect(got).toEqual(JSON.parse(JSON.stringify(expected)))
          })
          await Promise.all([write(runId, appends, progress), ...observed])
        },
      ),
      { numRuns: 12 },
    )
  })
})
