import { integer, median, table } from '../support/figures.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { atLeast, atMostMiB } from '../support/verdicts.ts'
import { MemoryWatch } from './memory-watch.ts'
import { type Pair, startPair, watchPath } from './pair.ts'

const RECORDS = 100_000
const READERS = 90
const NEVER_READ = 10
const ROUNDS = 3
const ASKED = 0.9
/** The allowed growth: for each client that never reads, a full socket buffer and the pages that it holds. */
const BOUND_MIB = 64

/** Readers of a long run, alone and beside clients that never read. */
export function neverRead(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    await using pair = await startPair(folder)
    const { peer } = pair.ours
    const runId = await peer.ask('fill', { records: RECORDS, ended: true })
    await peer.ask('projected', { runId, seq: RECORDS - 1 })
    const target = { port: pair.ours.port, path: watchPath(runId) }
    const rounds: { readonly alone: Half; readonly beside: Half }[] = []
    // The first round warms up and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const alone = await readAll(pair, runId)
      await pair.observers.ask('openUnread', { target, observers: NEVER_READ })
      const beside = await readAll(pair, runId)
      if (round > 0) rounds.push({ alone, beside })
    }
    const without = median(rounds.map(({ alone }) => alone.perSecond))
    const with10 = median(rounds.map(({ beside }) => beside.perSecond))
    const ratio = median(rounds.map(({ alone, beside }) => beside.perSecond / alone.perSecond))
    const mostWithout = median(rounds.map(({ alone }) => alone.mostMiB))
    const mostWith10 = median(rounds.map(({ beside }) => beside.mostMiB))
    const more = mostWith10 - mostWithout
    const head = ['what', 'value', 'beside it', 'asked', 'measured']
    const rows = [
      [
        `records/s of the ${READERS}`,
        integer(with10),
        `without the ${NEVER_READ}: ${integer(without)}/s`,
        ...atLeast(ratio, ASKED),
      ],
      [
        `memory of the server, for the ${NEVER_READ}`,
        `${mostWith10.toFixed(0)} MiB`,
        `without the ${NEVER_READ}: ${mostWithout.toFixed(0)} MiB`,
        ...atMostMiB(more, BOUND_MIB),
      ],
    ]
    return [
      `#### ${READERS + NEVER_READ} readers of a run of ${integer(RECORDS)} records, of which ${NEVER_READ} never read`,
      '',
      table(head, rows),
      '',
      `${ROUNDS} rounds, each first without and then with the ${NEVER_READ}, which reconnect each time, after one`,
      'that does not count. Memory is the peak RSS of each half of a round.',
    ].join('\n')
  })
}

/** Records per second of all readers together, and the server's peak memory meanwhile. */
type Half = { readonly perSecond: number; readonly mostMiB: number }

async function readAll({ observers, ours }: Pair, runId: string): Promise<Half> {
  const memory = await MemoryWatch.begin(ours.peer)
  await observers.ask('expect', READERS * RECORDS)
  const target = { port: ours.port, path: watchPath(runId) }
  const start = await observers.ask('openAtOnce', { target, observers: READERS })
  const end = await observers.ask('complete')
  const { mostMiB } = await memory.end()
  await observers.ask('close')
  return { perSecond: (1e9 * READERS * RECORDS) / (end - start), mostMiB }
}
