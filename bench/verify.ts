import { join } from 'node:path'
import { builtProcess } from './support/built-process.ts'
import { type Peer, startPeer } from './support/calls.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import type { VerifyOperations } from './verify/verify-process.ts'

const RECORDS = [10_000, 100_000]
const ROUNDS = 7

/** Verification of an export's records, beside bare SHA-256 of the same bytes. */
export async function run(): Promise<string> {
  return await inTemporaryFolder(async (folder) => {
    const built = await builtProcess(join(folder, 'now'), 'bench/verify/verify-process.ts')
    await using verifier = await startPeer<VerifyOperations>(built)
    const rows: string[][] = []
    for (const count of RECORDS) rows.push(await measure(count, verifier))
    return [
      '### Verification of a run',
      '',
      table(['records', 'bytes a record', 'verified', 'records/s', 'bare SHA-256'], rows),
      '',
      `${ROUNDS} rounds, of code that is built as for the package. Bare SHA-256 only hashes the bytes of the export once.`,
    ].join('\n')
  })
}

async function measure(count: number, verifier: Peer<VerifyOperations>): Promise<string[]> {
  const bytes = await verifier.ask('prepare', count)
  // The first round warms up and does not count.
  await verifier.ask('round')
  const rounds: Awaited<ReturnType<VerifyOperations['round']>>[] = []
  for (let round = 0; round < ROUNDS; round += 1) rounds.push(await verifier.ask('round'))
  const verified = median(rounds.map((one) => one.verified))
  const bare = median(rounds.map((one) => one.bare))
  return [
    integer(count),
    integer(bytes / count),
    `${verified.toFixed(0)} ms`,
    integer((1000 * count) / verified),
    `${bare.toFixed(0)} ms`,
  ]
}

if (import.meta.main) console.log(await run())
