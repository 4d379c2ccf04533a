import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { buildProgram } from '../test/support/build.ts'
import { fill, RECORDS_EACH } from './startup/fill.ts'
import type { Rebuild } from './startup/rebuild.ts'
import type { RebuildOperations } from './startup/rebuild-process.ts'
import { type Start, timeStart } from './startup/server.ts'
import { BareLog } from './support/bare-log.ts'
import { builtProcess } from './support/built-process.ts'
import { type Peer, startPeer } from './support/calls.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'

const SIZES = [1, 1_000, 100_000]
const UNFINISHED = 10
const ROUNDS = 5

type History = {
  readonly runs: number
  readonly records: number
  readonly dataDir: string
  readonly rebuild: Rebuild
  readonly starts: Start[]
}

/** How long a server with a long history takes to start work again, and to build its read model. */
export async function run(): Promise<string> {
  return await inTemporaryFolder(async (folder) => {
    const program = await buildProgram()
    const histories: History[] = []
    const module = await builtProcess(join(folder, 'built'), 'bench/startup/rebuild-process.ts')
    await using peer = await startPeer<RebuildOperations>(module)
    for (const runs of SIZES) histories.push(await prepare(folder, runs, peer))
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const { dataDir, starts } of histories) starts.push(await timeStart(program, dataDir))
    }
    return report(histories)
  })
}

async function prepare(
  folder: string,
  runs: number,
  peer: Peer<RebuildOperations>,
): Promise<History> {
  const dataDir = join(folder, `${runs}`)
  // A server refuses a run whose folder contains the data folder.
  const project = join(folder, 'project')
  for (const made of [dataDir, project]) await mkdir(made, { recursive: true })
  const log = new BareLog(join(dataDir, 'log.sqlite'))
  const records = fill(log, project, runs, Math.min(runs, UNFINISHED))
  log.close()
  const rebuild = await peer.ask('time', { dataDir, records })
  return { runs, records, dataDir, rebuild, starts: [] }
}

function report(histories: readonly History[]): string {
  return [
    '### Starting with a history, and building the read model from zero',
    '',
    table(
      ['runs stored', 'records', 'listening', 'ready', 'first resumed step'],
      histories.map(({ runs, records, starts }) => [
        integer(runs),
        integer(records),
        ...(['listening', 'ready', 'resumed'] as const).map(
          (what) => `${integer(median(starts.map((start) => start[what])))} ms`,
        ),
      ]),
    ),
    '',
    `From the start of the built program; ${ROUNDS} rounds, each after a kill -9. All runs but ${UNFINISHED} (or the only one) have ended.`,
    'The first resumed step is the first request of the others to the model. The limit is the start with one run.',
    '',
    table(
      ['records', 'read model from zero', 'subscription alone', 'bare SELECT', 'ratio to that'],
      histories
        .slice(1)
        .map(({ records, rebuild: { projected, subscribed, scanned } }) => [
          integer(records),
          ...[projected, subscribed, scanned].map((figure) => `${integer(figure)} records/s`),
          (projected / scanned).toFixed(2),
        ]),
    ),
    '',
    `Runs of ${RECORDS_EACH} records. The read model validates, folds and stores; the bare SELECT reads the same rows`,
    'in one thread and drops them; the subscription delivers them from the thread of the store.',
  ].join('\n')
}

if (import.meta.main) console.log(await run())
