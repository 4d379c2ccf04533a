import { chmod, mkdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import { findGoal } from '../checks/catalogue.ts'
import { SHELL_GOAL } from '../checks/goal.ts'
import { checkEnvironment } from '../checks/run-check.ts'
import { versionsAt } from '../checks/versions.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { verdictOf } from '../domain/run-verdict.ts'
import { BYTECODE, MOST_NAMED } from '../domain/snapshots.ts'
import type { RunState } from '../domain/state.ts'
import type { RunVerdict, Verdict, Versions } from '../domain/verdict.ts'
import { pathBytes, shownPath } from '../lib/git-objects.ts'
import { isWithin } from '../lib/paths.ts'
import { readAcceptance } from '../log/acceptance.ts'
import { load } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import { redactionIndexOf } from '../redaction/redaction-index.ts'
import { commandPath } from '../runner/command.ts'
import { commandRunner, DEFAULT_LIMITS, processStarter } from '../runner/run-command.ts'
import { Runner } from '../runner/runner.ts'
import { chooseIsolation } from '../sandbox/isolation.ts'
import { leftOutOf } from '../snapshots/changes.ts'
import { RunFiles, type SnapshotAt, snapshotsOf } from '../snapshots/run-files.ts'
import { Workspace } from '../workspace/workspace.ts'

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
  const { reader, artifacts, folder } = evidence
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
  const { original_checks: original, accept } = verdict
  if (original === null && accept === null) {
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
  const runner = new Runner({ error: () => {} })
  const dataDir = join(folder, 'server')
  await mkdir(dataDir)
  const env = { ...process.env, PATH: commandPath(process.env.PATH) }
  const isolation = await chooseIsolation('auto', {
    ...{ runner, env, dataDir, toolPaths: [] },
  })
  try {
    const startProcess = processStarter(DEFAULT_LIMITS, runner, isolation)
    const runCommand = commandRunner(DEFAULT_LIMITS, runner, isolation)
    const compared: Compared[] = []
    const lacking = new Set<string>()
    const { signal } = new AbortController()
    let installed: Versions = {}
    const check = async (name: Compared['check'], more: Hidden | null): Promise<void> => {
      const recorded = verdict[name]
      if (recorded === null) return
      const cwd = join(folder, name)
      for (const path of await restore(files, state, { verdict, cwd, more })) lacking.add(path)
      await using workspace = new Workspace({ cwd }, startProcess)
      const { config } = state
      const asked = more === null ? config : { ...config, ...asShellGoal(more.command) }
      const { verdict: here, reason } = await findGoal(asked.goal).check({
        ...{ config: { ...asked, cwd }, files: workspace, signal },
        runCommand: (command) => runCommand({ ...command, env: checkEnvironment(command.env) }),
      })
      compared.push({ check: name, recorded, here, reason })
      installed = await versionsAt({ cwd, runCommand, signal })
    }
    await check('original_checks', null)
    if (accept !== null) {
      const hidden = await hiddenCheck(state.config, artifacts)
      if (hidden.isErr()) return err(hidden.error)
      await check('accept', hidden.value)
    }
    // What succeeds without them does not need them. What fails may fail because of them.
    if (compared.some(({ here }) => here !== 'achieved')) {
      for (const path of await leftOutThere(found.value, verdict, artifacts)) lacking.add(path)
    }
    const names = [...new Set([...Object.keys(used), ...Object.keys(installed)])].sort()
    return ok({
      ...{ run_id: runId, verdict, compared },
      programs: names.map((name) => {
        return { name, recorded: used[name] ?? null, here: installed[name] ?? null }
      }),
      ...{ lacking: [...lacking].slice(0, MOST_LACKING), isolation: isolation.detail },
    })
  } finally {
    await isolation.leave()
    runner.close()
  }
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

type Hidden = { readonly files: Readonly<Record<string, string>>; readonly command: string }

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

/** Writes the last tree of a run with protected files of its first one. @returns paths that are not here */
async function restore(
  files: RunFiles,
  { snapshot }: RunState,
  { verdict, cwd, more }: { verdict: RunVerdict; cwd: string; more: Hidden | null },
): Promise<string[]> {
  const lacking: string[] = []
  await mkdir(cwd)
  if (snapshot === undefined) return lacking
  const tampered = new Map(verdict.tampering.map(({ path, change }) => [path, change]))
  const put = async (bytes: string, mode: string, content: Buffer | null): Promise<void> => {
    const isNamed = pathBytes(shownPath(bytes)) === bytes
    if (content === null || !isNamed) lacking.push(shownPath(bytes))
    else await write(cwd, bytes, { mode, content })
  }
  const walk = async (tree: string, at: string): Promise<void> => {
    const entries = files.tree(tree)
    if (entries === null) lacking.push(`${shownPath(at)}/`)
    for (const { mode, name, id } of entries ?? []) {
      const path = at === '' ? name : `${at}/${name}`
      if (BYTECODE.test(path)) continue
      if (mode === '40000') await walk(id, path)
      else if (!tampered.has(shownPath(path))) await put(path, mode, await files.blob(id))
    }
  }
  await walk(snapshot.tree, '')
  for (const [path, change] of tampered) {
    const was = change === 'added' ? null : files.find(snapshot.first.tree, pathBytes(path))
    if (was === undefined) lacking.push(path)
    else if (was !== null) await put(pathBytes(path), was.mode, await files.blob(was.id))
  }
  for (const [path, content] of Object.entries(more?.files ?? {})) {
    await write(cwd, pathBytes(path), { mode: '100644', content: Buffer.from(content) })
  }
  return lacking
}

/** Follows no link, whatever the names in the trees are: somebody else made them. @throws Error if that is not possible */
async function write(
  cwd: string,
  bytes: string,
  { mode, content }: { readonly mode: string; readonly content: Buffer },
): Promise<void> {
  const path = join(cwd, shownPath(bytes))
  await mkdir(dirname(path), { recursive: true })
  const isInside = isWithin(cwd, path) && isWithin(cwd, await realpath(dirname(path)))
  if (!isInside || path === cwd) throw new Error(`${path} is outside of the project`)
  await rm(path, { recursive: true, force: true })
  if (mode === '120000') return symlink(content, path)
  await writeFile(path, content, { flag: 'wx' })
  if (mode === '100755') await chmod(path, 0o755)
}
