import { join } from 'node:path'
import { builtProcess } from './support/built-process.ts'
import { type Peer, startPeer } from './support/calls.ts'
import { sourcesOf } from './support/earlier-commit.ts'
import { integer, median, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'
import { atLeast } from './support/verdicts.ts'
import type { BeforeOperations } from './verify/before-process.ts'
import { verifyCommand } from './verify/command.ts'
import type { VerifyOperations } from './verify/verify-process.ts'

const RECORDS = [10_000, 100_000]
const ROUNDS = 7
/** The last commit of v0.1. */
const BEFORE = '30d4dc6'
/** How many times as many records a second as then. */
const ASKED = 3

/** Verification of an export's records, beside that of v0.1 and bare SHA-256 of the same bytes. */
export async function run(): Promise<string> {
  return await inTemporaryFolder(async (folder) => {
    const sources = join(folder, 'before')
    await sourcesOf(BEFORE, sources)
    const program = new URL('./verify/before-process.ts', import.meta.url)
    await using before = await startPeer<BeforeOperations>(program, [sources])
    const built = await builtProcess(join(folder, 'now'), 'bench/verify/verify-process.ts')
    await using now = await startPeer<VerifyOperations>(built)
    const rows: string[][] = []
    for (const count of RECORDS) rows.push(await compare(count, { before, now }))
    const command = await verifyCommand(before, sources, { folder, ref: BEFORE, asked: ASKED })
    return ['### Verification of a run', '', ofRecords(rows), '', command].join('\n')
  })
}

function ofRecords(rows: readonly string[][]): string {
  const head = ['records', 'bytes a record', 'now', 'bare SHA-256', 'ratio to that']
  return [
    table([...head, 'records/s', `${BEFORE}/s`, 'times as many asked', 'measured'], rows),
    '',
    `${ROUNDS} rounds, of code that is built as for the package; that of ${BEFORE} ran from its sources, and its start does not count. Each`,
    'verifies a run with the same records, as its own export holds it. Bare SHA-256 only hashes our bytes once.',
  ].join('\n')
}

async function compare(
  count: number,
  sides: { readonly before: Peer<BeforeOperations>; readonly now: Peer<VerifyOperations> },
): Promise<string[]> {
  await sides.before.ask('prepare', count)
  const bytes = await sides.now.ask('prepare', count)
  const rounds: { verified: number; bare: number; before: number }[] = []
  // The first round warms up both sides and does not count.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const before = await sides.before.ask('round')
    const now = await sides.now.ask('round')
    if (round > 0) rounds.push({ ...now, before })
  }
  const middle = (side: keyof (typeof rounds)[number]) => median(rounds.map((one) => one[side]))
  const ms = (side: keyof (typeof rounds)[number]) => `${middle(side).toFixed(0)} ms`
  const perSecond = (side: keyof (typeof rounds)[number]) => integer((1000 * count) / middle(side))
  const times = median(rounds.map(({ before, verified }) => before / verified))
  return [
    ...[integer(count), integer(bytes / count), ms('verified'), ms('bare')],
    (middle('bare') / middle('verified')).toFixed(3),
    ...[perSecond('verified'), perSecond('before')],
    ...atLeast(times, ASKED),
  ]
}

if (import.meta.main) console.log(await run())
