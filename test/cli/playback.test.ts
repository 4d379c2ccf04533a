import { expect, test } from 'vitest'
import { playBack } from '../../src/cli/commands/replay.ts'
import type { AgentEvent } from '../../src/client/index.ts'

/** Three iterations of two records; two seconds between records. */
const events: readonly AgentEvent[] = Array.from({ length: 6 }, (_, seq) => ({
  kind: 'step_start',
  run_id: '550e8400-e29b-41d4-a716-446655440000',
  iteration: 1 + Math.floor(seq / 2),
  ts: 1000 + 2 * seq,
  seq,
  payload: { node: seq % 2 === 0 ? 'plan' : 'act' },
}))

/** Plays without waiting. @returns the seqs that were shown, the waits, and whether there was a record to begin with */
async function play({
  from = { seq: 0 },
  speed = 1,
  wanted = () => true,
  leaveAtWait = Number.POSITIVE_INFINITY,
}: Partial<Pick<Parameters<typeof playBack>[0], 'from' | 'speed' | 'wanted'>> & {
  leaveAtWait?: number
}) {
  const shown: number[] = []
  const waits: number[] = []
  const leave = new AbortController()
  const first = 'seq' in from ? from.seq : 0
  const reached = await playBack({
    events: (async function* () {
      yield* events.slice(first)
    })(),
    show: async ({ seq }) => {
      shown.push(seq)
    },
    ...{ wanted, from, speed, signal: leave.signal },
    wait: async (ms) => {
      if (waits.push(ms) === leaveAtWait) leave.abort()
    },
  })
  return { shown, waits, reached }
}

test('a run is shown with its original pauses', async () => {
  expect(await play({})).toEqual({
    shown: [0, 1, 2, 3, 4, 5],
    waits: [2000, 2000, 2000, 2000, 2000],
    reached: true,
  })
})

test('a run is shown faster, or without pauses', async () => {
  expect((await play({ speed: 4 })).waits).toEqual([500, 500, 500, 500, 500])
  expect((await play({ speed: Number.POSITIVE_INFINITY })).waits).toEqual([])
})

test('a run is shown from a record, or from an iteration', async () => {
  expect((await play({ from: { seq: 4 } })).shown).toEqual([4, 5])
  expect((await play({ from: { iteration: 2 } })).shown).toEqual([2, 3, 4, 5])
})

test('records that were not selected are left out, and their pauses kept', async () => {
  const wanted = ({ seq }: AgentEvent): boolean => seq % 3 === 0
  expect(await play({ wanted })).toMatchObject({ shown: [0, 3], waits: [6000] })
})

test('an iteration that is not there is not reached', async () => {
  expect(await play({ from: { iteration: 4 } })).toEqual({ shown: [], waits: [], reached: false })
})

test('the replay ends at once when somebody leaves', async () => {
  expect((await play({ leaveAtWait: 2 })).shown).toEqual([0, 1])
})
