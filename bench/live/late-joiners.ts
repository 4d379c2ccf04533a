import { integer, median, table } from '../support/figures.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { atLeast, atMostMiB, moreThan } from '../support/verdicts.ts'
import { MemoryWatch } from './memory-watch.ts'
import { type Pair, type Side, startPair, watchPath } from './pair.ts'

const JOINERS = 200
const RECORDS = 10_000
const ROUNDS = 3
const ASKED = 0.7
const ASKED_PER_SECOND = 100_000
/** How much memory may vary after the first round. */
const FLAT_MIB = 64

/** Many observers join a long run at once, against a loop that reads the rows for each of them. */
export function lateJoiners(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    await using pair = await startPair(folder)
    const ours = await longRun(pair.ours)
    const bare = await longRun(pair.bare)
    const rounds: { readonly ours: number; readonly bare: number }[] = []
    let memory = new MemoryWatch(pair.ours.peer)
    // The first round warms up both sides and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      if (round === 1) memory = await MemoryWatch.begin(pair.ours.peer)
      const speed = {
        ours: await join(pair, pair.ours, watchPath(ours)),
        bare: await join(pair, pair.bare, `/rows/${bare}`),
      }
      if (round > 0) rounds.push(speed)
    }
    const used = await memory.end()
    const perSecond = median(rounds.map(({ ours }) => ours))
    const ratio = median(rounds.map(({ ours, bare }) => ours / bare))
    const bareRows = `bare rows and ws: ${integer(median(rounds.map(({ bare }) => bare)))}/s`
    const head = ['what', 'value', 'beside it', 'asked', 'measured']
    const rows = [
      ['records/s in all', integer(perSecond), bareRows, ...atLeast(ratio, ASKED)],
      ['the same, absolute', integer(perSecond), '', ...moreThan(perSecond, ASKED_PER_SECOND)],
      [
        'memory of the server, peak growth',
        `${used.peakMiB.toFixed(0)} MiB`,
        used.text,
        ...atMostMiB(used.peakMiB, FLAT_MIB),
      ],
    ]
    return [
      `#### ${JOINERS} late joiners of a run of ${integer(RECORDS)} records, at once`,
      '',
      table(head, rows),
      '',
      `${ROUNDS} rounds, after one that does not count. The bare loop reads pages of 1,000 rows with node:sqlite for each joiner, adds the`,
      'seq, sends each with `ws`, and continues after the page is sent.',
    ].join('\n')
  })
}

async function longRun({ peer }: Side): Promise<string> {
  const runId = await peer.ask('fill', { records: RECORDS, ended: true })
  await peer.ask('projected', { runId, seq: RECORDS - 1 })
  return runId
}

/** Records per second, from the first connection to the last receipt. */
async function join({ observers }: Pair, { port }: Side, path: string): Promise<number> {
  await observers.ask('expect', JOINERS * RECORDS)
  const start = await observers.ask('openAtOnce', { target: { port, path }, observers: JOINERS })
  const end = await observers.ask('complete')
  await observers.ask('close')
  return (1e9 * JOINERS * RECORDS) / (end - start)
}
