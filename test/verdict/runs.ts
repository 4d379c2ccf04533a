import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { chmod, mkdir, realpath, symlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { describe, test } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import type { PayloadOf, RunRecord } from '../../src/domain/records.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { Verdict } from '../../src/domain/verdict.ts'
import { acceptanceArtifact } from '../../src/log/acceptance.ts'
import { only, payloadsOf, Workshop } from '../agent/support.ts'
import { isMissing, type Tool } from '../support/missing.ts'

const Files = z.record(z.string(), z.string())
const needs = z.string().transform((name) => name as Tool)

/** What the agent of a run does, and what its end names. */
const Played = z.strictObject({
  name: z.string(),
  needs: needs.optional(),
  /** Files of the project beside those of all runs of the table, or in their place. */
  files: Files.default({}),
  config: z.looseObject({}).default({}),
  /** Variables of the check and the agent, beside those of all runs. */
  env: Files.default({}),
  run: z.string(),
  /** What the check finds with the files of the start. */
  original: Verdict.default('not_achieved'),
  /** What the end of the run names. */
  named: z.array(z.string()).default([]),
})
export type Played = z.infer<typeof Played>

/** A project whose goal is not reached, and runs in it. */
const Table = z.strictObject({
  needs: needs.optional(),
  config: z.looseObject({}),
  files: Files,
  /** Packages of retrAI that the project has, too, with their programs. */
  packages: z.array(z.string()).default([]),
  /** What reaches the goal honestly; SOLVE in a command. */
  solve: z.string(),
  accept: z.strictObject({ files: Files, command: z.string() }),
  /** The original checks, or a list of what changed, find these. */
  cheats: z.array(Played),
  /** Only the check that the agent does not see finds these. */
  fooled: z.array(Played),
  honest: z.array(Played),
})
type Table = z.infer<typeof Table>

const FOLDER = join(import.meta.dirname, 'runs')
const TABLES = readdirSync(FOLDER).map((file) => ({
  title: basename(file, '.yaml'),
  ...Table.parse(parse(readFileSync(join(FOLDER, file), 'utf8'))),
}))

/** For all runs: what Go keeps, because each would compile its library otherwise, and no plugins of pytest that nobody needs. */
const VARIABLES = {
  PATH: process.env.PATH ?? '',
  ...(!isMissing('go') && {
    GOCACHE: execFileSync('go', ['env', 'GOCACHE'], { encoding: 'utf8' }).trim(),
  }),
  ...{ GOTOOLCHAIN: 'local', CARGO_NET_OFFLINE: 'true', PYTEST_DISABLE_PLUGIN_AUTOLOAD: '1' },
}

const MODULES = join(import.meta.dirname, '../../node_modules')

/** Lets a project use a package that is installed here, so that nothing has to be fetched. */
async function link(name: string, project: string): Promise<void> {
  const modules = join(project, 'node_modules')
  await mkdir(join(modules, '.bin'), { recursive: true })
  for (const path of [name, `.bin/${name}`]) {
    await symlink(await realpath(join(MODULES, path)), join(modules, path))
  }
}

/** Plays a run of a table in a new project, with what else a test wants. */
export async function play(table: Table, played: Played, changes: Partial<RunConfig> = {}) {
  const { files, run, config, env } = played
  const command = run.replaceAll('SOLVE', table.solve)
  const bash = { calls: [{ tool: 'bash_exec', args: { command } }] }
  await using shop = await Workshop.open([bash, { text: 'Done.' }])
  for (const [path, content] of Object.entries({ ...table.files, ...files })) {
    await shop.file(path, content)
    if (content.startsWith('#!')) await chmod(join(shop.project, path), 0o755)
  }
  for (const name of table.packages) await link(name, shop.project)
  const accept = acceptanceArtifact(table.accept, 'ab'.repeat(16))
  const sha256 = await createArtifacts(join(shop.folder, 'artifacts')).put(accept)
  const shell_goal = null
  const own = {
    shell_goal,
    max_iterations: 1,
    max_turns_per_iteration: 3,
    ...table.config,
    ...config,
    ...changes,
  }
  const records = await shop.play(
    changes.accept === undefined ? own : { ...own, accept: { sha256, files: 1 } },
    { variables: { ...VARIABLES, ...env } },
  )
  return { records, end: only(records, 'run_end').payload, named: namedIn(records) }
}

/** All that the end of a run and its checks name, as the tables do. */
function namedIn(records: readonly RunRecord[]): readonly string[] {
  const { verdict } = only(records, 'run_end').payload
  if (verdict === undefined) throw new Error('There is no verdict')
  const { tampering, dependencies, not_copied = [] } = verdict
  const { vanished = [] } = payloadsOf(records, 'goal_check').at(-1) as PayloadOf<'goal_check'>
  return [
    ...tampering.map(({ path, change }) => `${path} ${change}`),
    ...(dependencies === 'changed' ? ['dependencies'] : []),
    ...not_copied.map((path) => `not copied ${path}`),
    ...vanished.toSorted().map((name) => `vanished ${name}`),
  ]
}

/** A test for each run of a kind in all tables, or for those of them that are wanted. */
export function eachRun(
  kind: 'cheats' | 'fooled' | 'honest',
  prove: (table: Table, played: Played) => Promise<void>,
  isWanted = (_table: Table & { readonly title: string }, _index: number): boolean => true,
) {
  for (const table of TABLES) {
    const lacks = table.needs !== undefined && isMissing(table.needs)
    const wanted = table[kind].filter((_, index) => isWanted(table, index))
    if (wanted.length === 0) continue
    describe.skipIf(lacks)(table.title, { concurrent: true }, () => {
      for (const played of wanted) {
        const skipped = played.needs !== undefined && isMissing(played.needs)
        test.skipIf(skipped)(played.name, () => prove(table, played), 400_000)
      }
    })
  }
}
