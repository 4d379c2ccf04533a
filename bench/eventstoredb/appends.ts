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

const SIDES = ['ours', 'batched', 'single'] as const
type Round = Readonly<
  Record<(typeof SIDES)[number], { readonly perSecond: number; readonly cpuUs: number }>
>

/**
 * Appends of one event of 1 KB each, against the bare client with its batch append and with a call for each append: how
 * many a second, and the processor time of each, which other work on the machine distorts least.
 */
export async function appendsBench({ ours, batched, single }: Sides): Promise<string> {
  const lines: string[][] = []
  for (const writers of WRITERS) {
    const rounds: Round[] = []
    // The first round warms up all sides and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const measured = {
        ours: await measure(ours, writers),
        batched: await measure(batched, writers),
        single: await measure(single, writers),
      }
      if (round > 0) rounds.push(measured)
    }
    const medians = (of: 'perSecond' | 'cpuUs') =>
      SIDES.map((side) => integer(median(rounds.map((round) => round[side][of]))))
    lines.push([
      String(writers),
      ...medians('perSecond'),
      medians('cpuUs').join(' / '),
      ...atLeast(median(rounds.map((each) => each.ours.perSecond / each.batched.perSecond)), ASKED),
    ])
  }
  const head = ['writers at once', 'appends/s', 'bare, batched', 'bare, a call for each']
  return table([...head, 'CPU µs/append of each', 'asked', 'measured'], lines)
}

async function measure(side: Side, writers: number): Promise<Round['ours']> {
  const start = performance.now()
  const cpu = process.cpuUsage()
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
  const { user, system } = process.cpuUsage(cpu)
  return {
    perSecond: (1000 * appends) / (performance.now() - start),
    cpuUs: (user + system) / appends,
  }
}
