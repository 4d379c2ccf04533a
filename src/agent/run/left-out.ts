import { err, ok } from 'neverthrow'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import {
  HashedPath,
  type LeftOut,
  type LeftOutHashed,
  MOST_HASHED,
  MOST_LEFT_OUT,
} from '../../domain/snapshots.ts'
import { areHashesDue, type RunState } from '../../domain/state.ts'
import type { Logger } from '../../lib/logger.ts'
import { readRecords } from '../../log/run-log.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { listOf } from '../../snapshots/changes.ts'
import type { OpenWorkspace, Project, Workspace } from '../../workspace/workspace.ts'
import { orWarn } from './protection.ts'
import type { RunSession, StepResult } from './session.ts'
import type { KeepObjects, Snapshots } from './snapshots.ts'

/** Time for the program to start, beside what the hashes may take. */
const START_MS = 60_000

/** The hashes of all ignored files and repositories that a snapshot left out, in the order of paths, and what they do not cover. Never rejects. */
export async function hashLeftOut(
  files: Pick<Workspace, 'ask'>,
  leftOut: readonly LeftOut[],
  signal: AbortSignal,
): Promise<{ readonly hashed: HashedPath[]; readonly caches: readonly string[] }> {
  const all = leftOut.filter(({ why }) => why === 'ignored' || why === 'repository')
  // If the time is up, others than these lack a hash.
  const paths = all
    .map(({ path }) => path)
    .sort((a, b) => Number(isDependency(b)) - Number(isDependency(a)))
  if (paths.length === 0) return { hashed: [], caches: [] }
  const { files: maxFiles, bytes: maxBytes, ms: withinMs } = MOST_HASHED
  const asked = { paths, maxFiles, maxBytes, withinMs }
  const how = { signal, withinMs: withinMs + START_MS }
  const answer = await files.ask('hashes', asked, how)
  const { hashes, caches } = answer.unwrapOr({ hashes: [], caches: [] })
  const found = new Map(paths.map((path, at) => [path, hashes[at] ?? null]))
  return { hashed: all.map(({ path }) => ({ path, sha256: found.get(path) ?? null })), caches }
}

/** What was recorded of that before a call could change it; null if nothing was, or it cannot be read. */
export async function hashedAtStart(
  store: StreamReader,
  { runId, snapshot }: Pick<RunState, 'runId' | 'snapshot'>,
  readArtifact: ArtifactSource['read'],
): Promise<readonly HashedPath[] | null> {
  const seq = snapshot?.hashedAt ?? null
  if (seq === null) return null
  const [logged] = (await readRecords(store, runId, seq, 1)).unwrapOr([])
  if (logged?.record.kind !== 'left_out_hashed') return null
  const { entries } = logged.record.payload
  return listOf(entries, HashedPath, { read: readArtifact }).catch(() => null)
}

/** Folders of packages that a project has installed in itself. */
const NAMES: ReadonlySet<string> = new Set(['node_modules', '.venv', 'venv', 'vendor'])

/** The name of the folder of packages that a path is or is in; null for a path outside of them. */
function dependencyOf(path: string): string | null {
  const names = path.split('/')
  const at = names.findIndex((name) => NAMES.has(name))
  return at < 0 ? null : names.slice(0, at + 1).join('/')
}

/** Whether an ignored path is packages that the project needs. */
const isDependency = (path: string): boolean => dependencyOf(path) !== null

/**
 * What snapshots leave out and the run changed, made or, of packages, removed: folders of packages, and other paths, such as
 * those that a build makes, and repositories.
 * @param before the hashes of the start; null if there are none, so all counts as changed
 * @param now of what the last snapshot left out, which is `leftOut`
 */
export function changedLeftOut(
  before: readonly HashedPath[] | null,
  now: readonly HashedPath[],
  leftOut: readonly LeftOut[],
): { readonly packages: readonly string[]; readonly others: readonly string[] } {
  const known = new Map(before?.map(({ path, sha256 }) => [path, sha256]))
  const here = new Set(now.map(({ path }) => path))
  const isChanged = ({ path, sha256 }: HashedPath) => sha256 === null || known.get(path) !== sha256
  const changed = now.filter(isChanged).map(({ path }) => path)
  const gone = [...known.keys()].filter((path) => isDependency(path) && !here.has(path))
  const repositories = new Set(
    leftOut.flatMap(({ path, why }) => (why === 'repository' ? [path] : [])),
  )
  const isPackages = (path: string): boolean => isDependency(path) && !repositories.has(path)
  const packages = [...changed.filter(isPackages), ...gone]
  return {
    // A folder with rules of its own is more than one path.
    packages: [...new Set(packages.flatMap((path) => dependencyOf(path) ?? []))],
    others: changed.filter((path) => !isPackages(path)),
  }
}

type Deps = {
  readonly session: Pick<RunSession, 'state' | 'record'>
  readonly snapshots: Pick<Snapshots, 'leftOut'>
  readonly effects: Pick<KeepObjects, 'keepArtifact'> & {
    readonly openWorkspace: OpenWorkspace
    readonly log: Pick<Logger, 'warn'>
  }
  readonly project: Project
  readonly signal: AbortSignal
}

/**
 * Hashes what snapshots leave out, once in a run: beside the first request to its model, in a program of its own, so that nothing
 * waits for it but the first call that may write.
 */
export class LeftOutHashes implements AsyncDisposable {
  readonly #deps: Deps
  readonly #stop = new AbortController()
  #made: Promise<LeftOutHashed | null> | null = null

  constructor(deps: Deps) {
    this.#deps = deps
  }

  begin(): void {
    if (this.#made === null && areHashesDue(this.#deps.session.state)) this.#made = this.#make()
  }

  /** Records them, unless there is nothing to hash. Then what they are about may change. */
  async record(): Promise<StepResult> {
    this.begin()
    const hashed = await this.#made
    const { session, signal } = this.#deps
    if (signal.aborted) return err({ type: 'cancelled' })
    if (hashed === null) return ok()
    return session.record(() =>
      areHashesDue(session.state) ? { type: 'record', made: { left_out_hashed: hashed } } : null,
    )
  }

  /** Null if there is nothing to hash, or the list cannot be kept: then all of it will count as changed. */
  #make(): Promise<LeftOutHashed | null> {
    const { snapshots, effects, project } = this.#deps
    return orWarn(this.#deps, 'what snapshots leave out was not hashed', async () => {
      await using files = effects.openWorkspace(project)
      const signal = AbortSignal.any([this.#deps.signal, this.#stop.signal])
      const { hashed: all } = await hashLeftOut(files, snapshots.leftOut, signal)
      if (all.length === 0) return null
      if (all.length <= MOST_LEFT_OUT) return { entries: all }
      const sha256 = await effects.keepArtifact(JSON.stringify(all))
      return { entries: { count: all.length, sha256 } }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#made
  }
}
