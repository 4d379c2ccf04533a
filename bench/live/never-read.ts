import { integer, median, table } from '../support/figures.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { atLeast, atMostMiB } from '../support/verdicts.ts'
import { MemoryWatch } from './memory-watch.ts'
import { type Pair, startPair, watchPath } from './pair.ts'

const RECORDS = 100_000
const READERS = 90
const DEAF = 10
const ROUNDS = 3
const UNDISTURBED = 0.9
/** What the deaf may cost: each a full socket buffer and the page that it is part of, and some more. */
const BOUND_MIB = 64

/** Readers of a long run, alone and beside others who never read. */
export function neverRead(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    await using pair = await startPair(folder)
    const { peer } = pair.ours
    const runId = await peer.ask('fill', { records: RECORDS, ended: true })
    await peer.ask('projected', { runId, seq: RECORDS - 1 })
    await readAll(pair, runId)
    const alone: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) alone.push(await readAll(pair, runId))
    const memory = await MemoryWatch.begin(peer)
    const beside: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const target = { port: pair.ours.port, path: watchPath(runId) }
      await pair.observers.ask('openDeaf', { target, observers: DEAF })
      beside.push(await readAll(pair, runId))
    }
    const used = await memory.end()
    const [without, with10] = [median(alone), median(beside)]
    const head = ['what', 'value', 'beside it', 'asked', 'measured', 'held']
    const rows = [
      [
        `records/s of the ${READERS}`,
        integer(with10),
        `without the ${DEAF}: ${integer(without)}/s`,
        ...atLeast(with10 / without, UNDISTURBED),
      ],
      [
        'memory of the server, most it grew by',
        `${used.peakMiB.toFixed(0)} MiB`,
        used.text,
        ...atMostMiB(used.peakMiB, BOUND_MIB),
      ],
    ]
    return [
      `#### ${READERS + DEAF} readers of a run of ${integer(RECORDS)} records, of whom ${DEAF} never read`,
      '',
      table(head, rows),
      '',
      `Medians of ${ROUNDS} rounds each, first without and then with the ${DEAF}, which connect anew for each round.`,
    ].join('\n')
  })
}

/** Records per second that the readers get in all. */
async function readAll({ observers, ours }: Pair, runId: string): Promise<number> {
  await observers.ask('expect', READERS * RECORDS)
  const target = { port: ours.port, path: watchPath(runId) }
  const start = await observers.ask('rush', { target, observers: READERS })
  const end = await observers.ask('complete')
  await observers.ask('close')
  return (1e9 * READERS * RECORDS) / (end - start)
}
