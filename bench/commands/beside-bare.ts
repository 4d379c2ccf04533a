import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Peer, startPeer } from '../support/calls.ts'
import { integer, median, table } from '../support/figures.ts'
import { atLeast, atMostMiB, atMostMs, notAsked, type Verdict } from '../support/verdicts.ts'
import type { BareCommand, BareOperations, Repeated, Times, Wanted } from './bare.ts'
import type { CommandOperations } from './command-process.ts'

const ROUNDS = 5
/** Commands of each side in a round. */
const COUNTS = { plain: 200, isolated: 60 }
const TRUE = { file: '/bin/true', args: [] }
const OUTPUT_BYTES = 100 * 1024 * 1024
const OUTPUT_ROUNDS = 4
const ASKED = { plain: 0.8, isolated: 0.9, output: 0.02, costMs: 20, memoryMiB: 64 }

type Peers = {
  readonly server: Peer<CommandOperations>
  readonly bare: Peer<BareOperations>
}

/** Commands as a server runs them, beside `spawn` in a small process. */
export async function besideBare(folder: string): Promise<string> {
  const data = join(folder, 'data')
  const project = join(folder, 'project')
  for (const path of [data, project]) await mkdir(path)
  const modules = new URL('.', import.meta.url)
  await using server = await startPeer<CommandOperations>(new URL('command-process.ts', modules), [
    data,
  ])
  await using bare = await startPeer<BareOperations>(new URL('bare-process.mjs', modules))
  const peers = { server, bare }
  const level = await server.ask('level')
  const plain: Wanted = { ...TRUE, cwd: project, isolated: false }
  const rows = [
    ...(await rates(peers, { name: 'without isolation', ...COUNTS_OF.plain }, plain, plain)),
  ]
  const cost: string[] = []
  if (level === 'namespaces') {
    const isolated: Wanted = { ...plain, isolated: true }
    const same = await server.ask('bareCommand', isolated)
    rows.push(
      ...(await rates(peers, { name: 'in a container', ...COUNTS_OF.isolated }, isolated, same)),
    )
    cost.push('', await costOfIsolation(peers, plain))
  }
  const output = await outputOf(peers, folder)
  const head = ['commands', 'at once', 'commands/s', 'bare/s', 'asked', 'measured']
  return [
    table(head, rows),
    '',
    `${ROUNDS} rounds of \`/bin/true\`. Bare is \`spawn\` of Node in a process that does nothing else: of the command itself, or of bubblewrap`,
    'with the same arguments. Ours includes limits, masking, and the end of all that the command has started.',
    ...cost,
    '',
    output,
  ].join('\n')
}

const COUNTS_OF = {
  plain: { count: COUNTS.plain, asked: ASKED.plain },
  isolated: { count: COUNTS.isolated, asked: ASKED.isolated },
}

async function rates(
  { server, bare }: Peers,
  { name, count, asked }: { readonly name: string; readonly count: number; readonly asked: number },
  wanted: Wanted,
  same: BareCommand,
): Promise<string[][]> {
  const rows: string[][] = []
  for (const atOnce of [1, 32]) {
    const rounds: { readonly ours: number; readonly limit: number }[] = []
    for (let round = 0; round <= ROUNDS; round += 1) {
      const ours = await server.ask('repeat', { command: wanted, count, atOnce })
      const limit = await bare.ask('repeat', { command: same, count, atOnce })
      const perSecond = ({ ms }: Times): number => (1000 * count) / ms
      // The first round warms up both sides and does not count.
      if (round > 0) rounds.push({ ours: perSecond(ours), limit: perSecond(limit) })
    }
    const ratio = median(rounds.map(({ ours, limit }) => ours / limit))
    const figures = [rounds.map(({ ours }) => ours), rounds.map(({ limit }) => limit)]
    rows.push([name, String(atOnce), ...figures.map(median).map(integer), ...atLeast(ratio, asked)])
  }
  return rows
}

/** Median milliseconds of a command without isolation and in a container. */
type Costs = { readonly without: number; readonly within: number }

/** What isolation adds to a command. */
async function costOfIsolation(peers: Peers, plain: Wanted): Promise<string> {
  const isolated: Wanted = { ...plain, isolated: true }
  const same = await peers.server.ask('bareCommand', isolated)
  const ours: Costs[] = []
  const bare: Costs[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    ours.push(await costs(peers.server, plain, isolated))
    bare.push(await costs<BareCommand>(peers.bare, plain, same))
  }
  return table(
    ['median time of a command', 'without isolation', 'in a container', 'asked', 'cost'],
    [costRow('ours', ours, true), costRow('bare', bare, false)],
  )
}

async function costs<C>(
  { ask }: Pick<Peer<{ repeat(repeated: Repeated<C>): Promise<Times> }>, 'ask'>,
  plain: C,
  isolated: C,
): Promise<Costs> {
  const timed = async (command: C): Promise<number> =>
    median((await ask('repeat', { command, atOnce: 1, count: COUNTS.isolated })).times)
  return { without: await timed(plain), within: await timed(isolated) }
}

function costRow(name: string, costs: readonly Costs[], isAsked: boolean): string[] {
  const ms = (of: (one: Costs) => number): string => `${median(costs.map(of)).toFixed(1)} ms`
  const verdict = atMostMs(median(costs.map((one) => one.within - one.without)), ASKED.costMs)
  return [
    name,
    ms(({ without }) => without),
    ms(({ within }) => within),
    ...(isAsked ? verdict : notAsked(verdict)),
  ]
}

async function outputOf({ server, bare }: Peers, folder: string): Promise<string> {
  const file = join(folder, 'output.txt')
  const line = 'test/store/contract.test.ts (12 tests) passed in 341 ms, at https://example.org/\n'
  await writeFile(file, line.repeat(OUTPUT_BYTES / line.length + 1).slice(0, OUTPUT_BYTES))
  const command = { file: '/bin/cat', args: [file], cwd: folder }
  const timed = async (work: () => Promise<number>): Promise<number> => {
    const began = performance.now()
    const bytes = await work()
    if (bytes !== OUTPUT_BYTES) throw new Error(`${bytes} bytes of output`)
    return (1000 * OUTPUT_BYTES) / 2 ** 20 / (performance.now() - began)
  }
  const rounds: { readonly ours: number; readonly limit: number; readonly memory: number }[] = []
  for (let round = 0; round <= OUTPUT_ROUNDS; round += 1) {
    const ours = await timed(() => server.ask('run', { ...command, isolated: false }))
    const limit = await timed(() => bare.ask('run', command))
    const memory = await server.ask('memory')
    if (round > 0) rounds.push({ ours, limit, memory })
  }
  const memories = rounds.map(({ memory }) => memory)
  const grown = (memories.at(-1) ?? 0) - (memories[0] ?? 0)
  const verdicts: [string, string, string, Verdict][] = [
    [
      '100 MiB of output, MiB/s',
      integer(median(rounds.map(({ ours }) => ours))),
      integer(median(rounds.map(({ limit }) => limit))),
      atLeast(median(rounds.map(({ ours, limit }) => ours / limit)), ASKED.output),
    ],
    [
      `memory after the last of ${OUTPUT_ROUNDS} such commands, beside that after the first`,
      `${integer(memories.at(-1) ?? 0)} MiB`,
      `${integer(memories[0] ?? 0)} MiB`,
      atMostMiB(grown, ASKED.memoryMiB),
    ],
  ]
  return table(
    ['output', 'ours', 'beside it', 'asked', 'measured'],
    verdicts.map(([name, ours, limit, verdict]) => [name, ours, limit, ...verdict]),
  )
}
