import { describe, expect, test } from 'vitest'
import {
  Playback,
  type PlaybackCommand,
  readTarget,
  type Target,
} from '../../src/cli/terminal/playback.ts'
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

type Script = Readonly<Record<number, readonly PlaybackCommand[]>>

/**
 * Plays, and at each wait, counted from 0, does the commands of the script. Waits end at once.
 * @returns the seqs in the order in which they were shown, and the waits
 */
async function play({
  script = {},
  from = { seq: 0 },
  speed = 1,
  wanted = () => true,
}: {
  script?: Script
  from?: Target
  speed?: number
  wanted?: (event: AgentEvent) => boolean
}): Promise<{ shown: number[]; waits: number[] }> {
  const shown: number[] = []
  const waits: number[] = []
  const playback = new Playback({
    open: async function* (after) {
      yield* events.slice(after + 1)
    },
    show: async ({ seq }) => {
      shown.push(seq)
    },
    wanted,
    speed,
    wait: async (ms) => {
      const index = waits.push(ms) - 1
      if (index > 50) throw new Error('it waits for ever')
      for (const command of script[index] ?? []) playback.do(command)
    },
  })
  await playback.play(from)
  return { shown, waits }
}

describe('a run is shown', () => {
  test('with its original pauses', async () => {
    expect(await play({})).toEqual({
      shown: [0, 1, 2, 3, 4, 5],
      waits: [2000, 2000, 2000, 2000, 2000],
    })
  })

  test('faster, or without pauses', async () => {
    expect((await play({ speed: 4 })).waits).toEqual([500, 500, 500, 500, 500])
    expect((await play({ speed: Number.POSITIVE_INFINITY })).waits).toEqual([])
  })

  test('from a record, or from an iteration', async () => {
    expect((await play({ from: { seq: 4 } })).shown).toEqual([4, 5])
    expect((await play({ from: { iteration: 2 } })).shown).toEqual([2, 3, 4, 5])
  })

  test('without the records that were not selected, but with their pauses', async () => {
    const wanted = ({ seq }: AgentEvent): boolean => seq % 3 === 0
    expect(await play({ wanted })).toEqual({ shown: [0, 3], waits: [6000] })
  })
})

describe('a person', () => {
  const [pause, step, quit]: PlaybackCommand[] = [
    { type: 'pause_or_continue' },
    { type: 'step' },
    { type: 'quit' },
  ] as const satisfies PlaybackCommand[]
  if (pause === undefined || step === undefined || quit === undefined) throw new Error()

  test('pauses and continues', async () => {
    const { shown, waits } = await play({ script: { 0: [pause], 1: [pause] } })
    expect(shown).toEqual([0, 1, 2, 3, 4, 5])
    expect(waits[1]).toBe(Number.POSITIVE_INFINITY)
    expect(waits[2]).toBeGreaterThan(0)
  })

  test('steps from record to record', async () => {
    const { shown, waits } = await play({ script: { 0: [step], 1: [step], 2: [quit] } })
    expect(shown).toEqual([0, 1, 2])
    expect(waits.slice(1)).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY])
  })

  test('jumps ahead and back, and sees the record at once', async () => {
    const script: Script = {
      0: [{ type: 'jump', target: { iteration: 3 } }],
      1: [{ type: 'jump', target: { seq: 1 } }],
      2: [quit],
    }
    expect((await play({ script })).shown).toEqual([0, 4, 1])
  })

  test('is at the last record, paused, after a jump beyond the end', async () => {
    const jump = (target: Target): PlaybackCommand => ({ type: 'jump', target })
    const script = { 1: [jump({ seq: 9 })], 2: [pause], 3: [jump({ iteration: 9 })], 4: [pause] }
    expect((await play({ script })).shown).toEqual([0, 1, 1, 1, 2, 3, 4, 5])
  })

  test('changes the speed', async () => {
    const { waits } = await play({ script: { 0: [{ type: 'faster' }], 1: [{ type: 'slower' }] } })
    expect(waits[1]).toBeLessThanOrEqual(1000)
    expect(waits[1]).toBeGreaterThan(900)
  })

  test('names records by seq, iterations by i', () => {
    expect(readTarget('12')).toEqual({ seq: 12 })
    expect(readTarget(' i3 ')).toEqual({ iteration: 3 })
    expect(readTarget('x')).toBeNull()
    expect(readTarget('')).toBeNull()
  })
})
