import { integer, median, table } from '../support/figures.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { atLeast } from '../support/verdicts.ts'
import { type Pair, type Side, startPair, watchPath } from './pair.ts'

const OBSERVERS = [1, 100, 1000, 5000]
const ROUNDS = 5
/** Records of one append: an outcome, and the next intent. */
const PER_APPEND = 4
const HISTORY = 20
/** All frames of a burst, and the smallest and largest number of its appends. */
const FRAMES = 200_000
const FEWEST_APPENDS = 25
const MOST_APPENDS = 500
/** Frames a second, of all observers together, while delays are measured. */
const CALM_FRAMES_PER_SECOND = 20_000
const TRICKLE_MS = 1500
const ASKED = 0.9

type Watched = Side & { readonly runId: string }
type Round = { readonly ours: number; readonly bare: number }

/** One run and its observers in another process, against a server that only broadcasts. */
export async function fanOut(): Promise<string> {
  const lines: string[][] = []
  for (const observers of OBSERVERS) {
    lines.push(await inTemporaryFolder((folder) => measure(folder, observers)))
  }
  const head = [
    'observers',
    'frames/s',
    'bare ws/s',
    'p99 from append to receipt',
    'bare p99',
    'asked',
    'measured',
  ]
  return [
    '#### One run, many observers',
    '',
    table(head, lines),
    '',
    `${ROUNDS} rounds. Both servers have the same store and projections, and append the same records, ${PER_APPEND} at a time, each append once the`,
    'previous one is on the disk, for which both wait most of the time with one observer. The bare one calls `send` of `ws` for each record',
    `and socket. Delays are measured at a rate that gives all observers together ${integer(CALM_FRAMES_PER_SECOND)} frames a second.`,
  ].join('\n')
}

async function measure(folder: string, observers: number): Promise<string[]> {
  await using pair = await startPair(folder)
  const ours = await watch(pair, pair.ours, observers)
  const bare = await watch(pair, pair.bare, observers)
  const appends = Math.round(FRAMES / observers / PER_APPEND)
  const load = Math.max(FEWEST_APPENDS, Math.min(appends, MOST_APPENDS))
  const rounds: Round[] = []
  const delays: Round[] = []
  // The first round warms up both sides and does not count.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const speed = {
      ours: await burst(pair, ours, observers, load),
      bare: await burst(pair, bare, observers, load),
    }
    const delay = {
      ours: await trickle(pair, ours, observers),
      bare: await trickle(pair, bare, observers),
    }
    if (round === 0) continue
    rounds.push(speed)
    delays.push(delay)
  }
  return [
    integer(observers),
    integer(median(rounds.map(({ ours }) => ours))),
    integer(median(rounds.map(({ bare }) => bare))),
    `${median(delays.map(({ ours }) => ours)).toFixed(1)} ms`,
    `${median(delays.map(({ bare }) => bare)).toFixed(1)} ms`,
    ...atLeast(median(rounds.map(({ ours, bare }) => ours / bare)), ASKED),
  ]
}

async function watch(pair: Pair, side: Side, observers: number): Promise<Watched> {
  const runId = await side.peer.ask('fill', { records: HISTORY, ended: false })
  const target = { port: side.port, path: watchPath(runId, HISTORY - 1) }
  await pair.observers.ask('open', { target, observers })
  return { ...side, runId }
}

/** Frames per second, from the first append to the last receipt. */
async function burst(
  { observers: process }: Pair,
  { peer, runId }: Watched,
  observers: number,
  appends: number,
): Promise<number> {
  const frames = observers * appends * PER_APPEND
  await process.ask('expect', frames)
  const start = await peer.ask('burst', { runId, appends, perAppend: PER_APPEND })
  const end = await process.ask('complete')
  return (1e9 * frames) / (end - start)
}

/** The 99th percentile of the delays, milliseconds. */
async function trickle(
  { observers: process }: Pair,
  { peer, runId }: Watched,
  observers: number,
): Promise<number> {
  const everyMs = Math.max(10, (1000 * observers) / CALM_FRAMES_PER_SECOND)
  const appends = Math.round(TRICKLE_MS / everyMs)
  await process.ask('expect', observers * appends)
  await peer.ask('trickle', { runId, appends, everyMs })
  await process.ask('complete')
  return process.ask('delayMs', 0.99)
}
