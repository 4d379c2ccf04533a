import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { chmod, mkdir, realpath, symlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
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
  /** Another run shows the same of this ecosystem, so only the chaos tier plays it. */
  rare: z.literal(true).optional(),
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
type Played = z.infer<typeof Played>

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
  GOTOOLCHAIN: 'local',
  CARGO_NET_OFFLINE: 'true',
  PYTEST_DISABLE_PLUGIN_AUTOLOAD: '1',
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
async function play(table: Table, played: Played, changes: Partial<RunConfig> = {}) {
  const { files, run, config, env } = played
  const command = run.replaceAll('SOLVE', table.solve)
  const bash = { calls: [{ tool: 'bash_exec', args: { command } }] }
  await using shop = await Workshop.open([bash, { text: 'Done.' }])
  for (const [path, content] of Object.entries({ ...table.files, ...files })) {
    await shop.file(path, content)
    if (content.startsWith('#!')) await chmod(join(shop.project, path), 0o755)
  }
  for (const name of table.packages) await link(name, shop.project)
  const sha256 = await shop.artifacts.put(acceptanceArtifact(table.accept, 'ab'.repeat(16)))
  const accept = changes.accept && { accept: { sha256, files: 1 } }
  const limits = { shell_goal: null, max_iterations: 1, max_turns_per_iteration: 3 }
  const records = await shop.play(
    { ...limits, ...table.config, ...config, ...changes, ...accept },
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

/** What a run of a kind must come to: its status, the check that rejects it, and its verdict. */
const WANTED = {
  /** The end of a run that may not cheat. */
  cheats: ({ original }: Played) => ({
    status: 'failed',
    rejected: 'tampering',
    original_checks: original,
  }),
  /** What only a check that the agent does not see finds. */
  fooled: () => ({
    status: 'failed',
    rejected: 'accept',
    original_checks: 'achieved',
    accept: 'not_achieved',
  }),
  honest: () => ({ status: 'achieved', rejected: null, original_checks: 'achieved' }),
}

/** Fails unless a run of a kind ends as it must. */
async function prove(kind: keyof typeof WANTED, table: Table, played: Played): Promise<void> {
  const accept = kind === 'fooled' && { accept: { sha256: '', files: 1 } }
  const { records, end, named } = await play(table, played, { on_tampering: 'fail', ...accept })
  const { rejected } = only(records, 'final_check').payload
  expect({ ...end.verdict, status: end.status, rejected, named }).toMatchObject({
    ...WANTED[kind](played),
    as_is: 'achieved',
    named: played.named,
  })
}

/** A test for each run in all tables, or for the rare ones only. */
export function proveRuns({ rare }: { readonly rare: boolean }): void {
  for (const table of TABLES) {
    const lacks = table.needs !== undefined && isMissing(table.needs)
    describe.skipIf(lacks)(table.title, { concurrent: true }, () => {
      for (const kind of ['cheats', 'fooled', 'honest'] as const) {
        for (const played of table[kind].filter((one) => (one.rare === true) === rare)) {
          const skipped = played.needs !== undefined && isMissing(played.needs)
          const run = () => prove(kind, table, played)
          test.skipIf(skipped)(`${kind}: ${played.name}`, run, 400_000)
        }
      }
    })
  }
}

/** The run in the table of the shell that edits its check: it depends on no kind of check. */
export async function playReporting() {
  const table = TABLES.find(({ title }) => title === 'shell')
  const [played] = table?.cheats ?? []
  if (table === undefined || played === undefined) throw new Error('there is no such run')
  return { played, ...(await play(table, played, { on_tampering: 'report' })) }
}
