import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import { Protection, type ProtectionDeps } from '../agent/run/protection.ts'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import { findGoal } from '../checks/catalogue.ts'
import { type GoalVerdict, SHELL_GOAL } from '../checks/goal.ts'
import { checkEnvironment } from '../checks/run-check.ts'
import { versionsAt } from '../checks/versions.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { verdictOf } from '../domain/run-verdict.ts'
import { MOST_NAMED } from '../domain/snapshots.ts'
import type { RunState } from '../domain/state.ts'
import type { RunVerdict, Verdict, Versions } from '../domain/verdict.ts'
import { readAcceptance } from '../log/acceptance.ts'
import { load } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import { redactionIndexOf } from '../redaction/redaction-index.ts'
import { commandPath, type RunCommand } from '../runner/command.ts'
import {
  commandRunner,
  DEFAULT_LIMITS,
  processStarter,
  type StartProcess,
} from '../runner/run-command.ts'
import { Runner } from '../runner/runner.ts'
import { chooseIsolation, type Isolation } from '../sandbox/isolation.ts'
import { leftOutOf } from '../snapshots/changes.ts'
import {
  MAX_FILE_BYTES,
  RunFiles,
  type SnapshotAt,
  snapshotsOf,
  WITHIN_MS,
} from '../snapshots/run-files.ts'
import { Workspace } from '../workspace/workspace.ts'
import { type Hidden, restore } from './restored-project.ts'

/** A check, as the run recorded it and as it was found here. */
type Compared = {
  readonly check: 'original_checks' | 'accept'
  readonly recorded: Verdict
  readonly here: Verdict
  /** What the check said here. */
  readonly reason: string
}

type ProgramVersions = {
  readonly name: string
  readonly recorded: string | null
  readonly here: string | null
}

export type Rechecked = {
  readonly run_id: string
  readonly verdict: RunVerdict
  readonly compared: readonly Compared[]
  /** The programs that checks find, in the order of their names: their versions in the record, and here; null: none. */
  readonly programs: readonly ProgramVersions[]
  /** What is not here of the files that the check was made with; at most 100 paths. */
  readonly lacking: readonly string[]
  /** How commands were isolated here, as a sentence. */
  readonly isolation: string
}

type Evidence = {
  readonly reader: StreamReader
  readonly artifacts: ArtifactSource
  /** An empty folder, for what is made here. */
  readonly folder: string
}

const MOST_LACKING = 100

/** Makes the checks of an ended run again, from its records and objects alone. The error is a sentence: why they cannot be made. */
export async function recheckRun(
  runId: string,
  evidence: Evidence,
): Promise<Result<Rechecked, string>> {
  const recorded = await readRecorded(runId, evidence)
  if (recorded.isErr()) return err(recorded.error)
  const runner = new Runner({ error: () => {} })
  const isolation = await isolationIn(evidence.folder, runner)
  try {
    const recheck = new Recheck(recorded.value, evidence, {
      startProcess: processStarter(DEFAULT_LIMITS, runner, isolation),
      runCommand: commandRunner(DEFAULT_LIMITS, runner, isolation),
    })
    const checked = await recheck.checkAll()
    const { verdict } = recorded.value
    return checked.map((checks) => {
      return { run_id: runId, verdict, ...checks, isolation: isolation.detail }
    })
  } finally {
    await isolation.leave()
    runner.close()
  }
}

/** An ended run whose verdict was made in a clean copy. */
type Recorded = {
  readonly state: RunState
  readonly verdict: RunVerdict
  /** The programs that its checks found. */
  readonly used: Versions
  readonly snapshots: readonly SnapshotAt[]
  readonly files: RunFiles
}

async function readRecorded(
  runId: string,
  { reader, artifacts }: Evidence,
): Promise<Result<Recorded, string>> {
  let used: Versions = {}
  const loaded = await load(reader, runId, {
    visit: ({ record }) => {
      if (record.kind === 'final_check') used = record.payload.versions ?? {}
    },
  })
  const state = loaded.isOk() ? (loaded.value?.state ?? null) : null
  if (state === null) return err('Its records cannot be read.')
  const verdict = verdictOf(state)
  if (verdict === null || state.snapshot === undefined) {
    return err(
      'The run has no verdict: a version made it that made no snapshots, or nobody was to look.',
    )
  }
  if (verdict.original_checks === null && verdict.accept === null) {
    return err('Its goal was not checked in a clean copy, so there is nothing to compare with.')
  }
  if (verdict.tampering.length === MOST_NAMED) {
    return err('Its verdict does not name all protected files that were changed.')
  }
  const found = await snapshotsOf(reader, runId)
  const index = await redactionIndexOf(reader)
  if (found.isErr() || index.isErr()) return err('Its records cannot be read.')
  const packsOf = (sha256: string) => index.value.packsOf(sha256)
  const files = await RunFiles.open(found.value, artifacts, packsOf)
  return ok({ state, verdict, used, snapshots: found.value, files })
}

async function isolationIn(folder: string, runner: Runner): Promise<Isolation> {
  const dataDir = join(folder, 'server')
  await mkdir(dataDir)
  const env = { ...process.env, PATH: commandPath(process.env.PATH) }
  return chooseIsolation('auto', { runner, env, dataDir, toolPaths: [] })
}

type Processes = { readonly startProcess: StartProcess; readonly runCommand: RunCommand }

/** A check here, and whether tests that the agent added were left out of it. */
type Judged = { readonly judged: GoalVerdict; readonly hasAddedTests: boolean }

/** Makes the checks of one run again, each in a folder of its own. */
class Recheck {
  readonly #recorded: Recorded
  readonly #evidence: Evidence
  readonly #processes: Processes
  readonly #lacking = new Set<string>()
  readonly #signal = new AbortController().signal
  /** The programs that the last check found. */
  #installed: Versions = {}

  constructor(recorded: Recorded, evidence: Evidence, processes: Processes) {
    this.#recorded = recorded
    this.#evidence = evidence
    this.#processes = processes
  }

  async checkAll(): Promise<Result<Pick<Rechecked, 'compared' | 'programs' | 'lacking'>, string>> {
    const { artifacts } = this.#evidence
    const { state, verdict, snapshots } = this.#recorded
    const compared = await this.#compare('original_checks', null)
    if (verdict.accept !== null) {
      const hidden = await hiddenCheck(state.config, artifacts)
      if (hidden.isErr()) return err(hidden.error)
      compared.push(...(await this.#compare('accept', hidden.value)))
    }
    // What succeeds without them does not need them. What fails may fail because of them.
    if (compared.some(({ here }) => here !== 'achieved')) {
      const left = await leftOutThere(snapshots, verdict, artifacts)
      for (const path of left) this.#lacking.add(path)
    }
    const lacking = [...this.#lacking].slice(0, MOST_LACKING)
    return ok({ compared, programs: this.#programs(), lacking })
  }

  /** @returns nothing if the run has no such check */
  async #compare(check: Compared['check'], more: Hidden | null): Promise<Compared[]> {
    const recorded = this.#recorded.verdict[check]
    if (recorded === null) return []
    const first = await this.#judge(check, more, check === 'original_checks')
    const isDone = !first.hasAddedTests || first.judged.verdict !== 'achieved'
    const { judged } = isDone ? first : await this.#judge(`${check}_and_added`, more, false)
    return [{ check, recorded, here: judged.verdict, reason: judged.reason }]
  }

  /** @param at the name of a new folder @param isFirst whether tests that the agent added are left out */
  async #judge(at: string, more: Hidden | null, isFirst: boolean): Promise<Judged> {
    const { startProcess, runCommand } = this.#processes
    const { state, verdict, files } = this.#recorded
    const signal = this.#signal
    const cwd = join(this.#evidence.folder, at)
    for (const path of await restore(files, state, { verdict, cwd, more })) this.#lacking.add(path)
    await using workspace = new Workspace({ cwd }, startProcess)
    const { artifacts } = this.#evidence
    const protection = protectionOf(state, { files: workspace, artifacts, signal })
    const added = isFirst ? await addedTests(workspace, protection, signal) : []
    for (const path of added) await rm(join(cwd, path), { force: true })
    const { config } = state
    const asked = more === null ? config : { ...config, ...asShellGoal(more.command) }
    const goalVerdict = await findGoal(asked.goal).check({
      config: { ...asked, cwd },
      files: workspace,
      signal,
      runCommand: (command) => runCommand({ ...command, env: checkEnvironment(command.env) }),
    })
    this.#installed = await versionsAt({ cwd, runCommand, signal })
    const judged = isFirst ? await protection.withoutLost(goalVerdict) : goalVerdict
    return { judged, hasAddedTests: added.length > 0 }
  }

  #programs(): ProgramVersions[] {
    const { used } = this.#recorded
    const here = this.#installed
    const names = new Set([...Object.keys(used), ...Object.keys(here)])
    return [...names].sort().map((name) => {
      return { name, recorded: used[name] ?? null, here: here[name] ?? null }
    })
  }
}

const protectionOf = (
  state: RunState,
  {
    files,
    artifacts,
    signal,
  }: Pick<ProtectionDeps, 'files' | 'signal'> & Pick<Evidence, 'artifacts'>,
): Protection =>
  new Protection({
    session: { state },
    files,
    signal,
    effects: {
      findGoal,
      keepArtifact: () => Promise.reject(new Error('a recheck keeps nothing')),
      readArtifact: (sha256) => artifacts.read(sha256),
      log: { warn: () => {} },
    },
  })

/** The tests that the agent added, as paths in the restored files. */
async function addedTests(
  workspace: Workspace,
  protection: Protection,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const asked = { maxFileBytes: MAX_FILE_BYTES, maxBytes: 0, salt: '' }
  const made = await workspace.ask('snapshot', asked, { signal, withinMs: WITHIN_MS })
  const { before = [], now = [] } = (made.isOk() && (await protection.compared())) || {}
  const known = new Set(before.map(({ path }) => path))
  return now.filter(({ path, test }) => test === true && !known.has(path)).map(({ path }) => path)
}

/** What snapshots leave out, such as packages, and the recorded checks had all the same. No export has it. */
async function leftOutThere(
  snapshots: readonly SnapshotAt[],
  { not_copied = [] }: RunVerdict,
  artifacts: ArtifactSource,
): Promise<readonly string[]> {
  const last = snapshots.at(-1)
  const left = last === undefined ? [] : ((await leftOutOf(last, artifacts)) ?? [])
  return left.map(({ path }) => path).filter((path) => !not_copied.includes(path))
}

const asShellGoal = (command: string): Pick<RunConfig, 'goal' | 'shell_goal'> => ({
  goal: SHELL_GOAL,
  shell_goal: { check_command: command, success_condition: { exit_code: 0 } },
})

async function hiddenCheck(
  { accept }: RunConfig,
  artifacts: ArtifactSource,
): Promise<Result<Hidden, string>> {
  const kept = accept === undefined ? null : await artifacts.read(accept.sha256)
  if (accept === undefined || kept === null) return err('The hidden check is not in the export.')
  const content = await buffer(kept.stream as AsyncIterable<Buffer>)
  return readAcceptance(content, accept.sha256).mapErr((why) => `It has no hidden check: ${why}.`)
}
