import { setTimeout as delay } from 'node:timers/promises'
import { integer, median, table } from '../support/figures.ts'
import { atLeast } from '../support/verdicts.ts'
import type { Side } from './side.ts'

const PAGE = 1000
const ROUNDS = 5
const ASKED = 0.9
const PAUSE_MS = 200

type Sides = { readonly ours: Side; readonly bare: Side }

/** A run read in pages and followed from its start, and its first observer, against the bare client's catch-up. */
export async function readsBench(
  sides: Sides,
  stream: string,
  records: number,
  firstJoiner: () => Promise<number>,
): Promise<string> {
  const { bare } = sides
  const ways = {
    'pages of 1,000': {
      ours: () => timed(() => pages(sides.ours, stream, records)),
      bare: () => timed(() => pages(bare, stream, records)),
    },
    'catch-up subscription': {
      ours: () => timed(() => sides.ours.catchUp(stream, records - 1)),
      bare: () => timed(() => bare.catchUp(stream, records - 1)),
    },
    'first observer of the run, over a WebSocket': {
      ours: firstJoiner,
      bare: () => timed(() => bare.catchUp(stream, records - 1)),
    },
  }
  const lines: string[][] = []
  for (const [name, way] of Object.entries(ways)) {
    const rounds: { ours: number; bare: number }[] = []
    // The first round warms up both sides and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      // Work that the other side left under way must not count.
      await delay(PAUSE_MS)
      const ours = await way.ours()
      await delay(PAUSE_MS)
      const speeds = { ours, bare: await way.bare() }
      if (round > 0) rounds.push(speeds)
    }
    const speed = (side: 'ours' | 'bare') => (1000 * records) / median(rounds.map((r) => r[side]))
    lines.push([
      name,
      integer(speed('ours')),
      integer(speed('bare')),
      ...atLeast(median(rounds.map((round) => round.bare / round.ours)), ASKED),
    ])
  }
  return table(['what', 'records/s', 'bare client', 'asked', 'measured'], lines)
}

async function pages(side: Side, stream: string, records: number): Promise<void> {
  let from = 0
  while (from < records) from += await side.page(stream, from, PAGE)
}

/** @returns milliseconds */
async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}
