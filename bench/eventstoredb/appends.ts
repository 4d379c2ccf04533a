import { randomUUID } from 'node:crypto'
import { integer, median, table } from '../support/figures.ts'
import { atLeast } from '../support/verdicts.ts'
import type { Side } from './side.ts'

const WRITERS = [1, 8, 32, 128]
const ROUNDS = 7
/** The time of one side in a round, milliseconds. */
const DURATION_MS = 700
const ASKED = 0.9

type Sides = { readonly ours: Side; readonly batched: Side; readonly single: Side }

/** Appends of one event of 1 KB each, against the bare client with its batch append and with a call for each. */
export async function appendsBench({ ours, batched, single }: Sides): Promise<string> {
  const lines: string[][] = []
  for (const writers of WRITERS) {
    const rounds: { ours: number; batched: number; single: number }[] = []
    // The first round warms up all sides and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const speeds = {
        ours: await perSecond(ours, writers),
        batched: await perSecond(batched, writers),
        single: await perSecond(single, writers),
      }
      if (round > 0) rounds.push(speeds)
    }
    lines.push([
      String(writers),
      ...(['ours', 'batched', 'single'] as const).map((side) =>
        integer(median(rounds.map((round) => round[side]))),
      ),
      ...atLeast(median(rounds.map((round) => round.ours / round.batched)), ASKED),
    ])
  }
  const head = ['writers at once', 'appends/s', 'bare, batched', 'bare, a call for each']
  return table([...head, 'asked', 'measured', 'held'], lines)
}

async function perSecond(side: Side, writers: number): Promise<number> {
  const start = performance.now()
  const until = start + DURATION_MS
  let appends = 0
  const write = async (): Promise<void> => {
    const stream = `bench-${randomUUID()}`
    let expected: number | 'no_stream' = 'no_stream'
    while (performance.now() < until) {
      expected = await side.append(stream, expected)
      appends += 1
    }
  }
  await Promise.all(Array.from({ length: writers }, write))
  return (1000 * appends) / (performance.now() - start)
}
