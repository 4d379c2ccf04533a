import { err, ok, type Result } from 'neverthrow'
import type { PutFile } from '../../carry/clean-copy.ts'
import type { OriginalFile } from '../../carry/reinstall.ts'
import type { LeftOut, ProtectedFile } from '../../domain/snapshots.ts'
import { pathBytes } from '../../lib/git-objects.ts'
import { isWithin } from '../../lib/paths.ts'
import { readRecords } from '../../log/run-log.ts'
import { leftOutOf } from '../../snapshots/changes.ts'
import type { RunFiles } from '../../snapshots/run-files.ts'
import type { Work } from './effects.ts'
import { changedLeftOut, hashedAtStart, hashLeftOut } from './left-out.ts'

/** What makes a copy of the project what it was at the start of the run, but for the work of the agent. */
export type StartOfRun = {
  /** Protected files as they were. */
  readonly files: readonly PutFile[]
  /** Tests that were added since, as bytes of paths. */
  readonly added: readonly string[]
  /** What snapshots leave out and was changed, so that no copy gets it. */
  readonly notCopied: readonly string[]
  /** Folders of packages that were changed. */
  readonly dependencies: readonly string[]
  readonly original: OriginalFile
}

/** The error is a sentence for people. Rejects if the place of the artifacts cannot be read now. */
export async function startOfRun(work: Work): Promise<Result<StartOfRun, string>> {
  const { session, effects, files, snapshots, signal } = work
  const { state, store } = session
  const { snapshot, runId, start } = state
  if (snapshot === undefined) return err('There is no snapshot of the project')
  const first = await leftOutAtStart(work, snapshot.first.seq)
  if (first === null) return err('What the first snapshot left out cannot be read')
  const hashed = await hashedAtStart(store, state, effects.readArtifact)
  const now = await hashLeftOut(files, snapshots.leftOut, signal)
  const changed = changedLeftOut(hashed, now.hashed, snapshots.leftOut)
  const notCopied = [...changed.others, ...otherFiles(first, snapshots.leftOut)]
  let kept: RunFiles | null = null
  const filesOf = async () => (kept ??= await effects.filesOf(start?.run_id ?? runId))
  const original: OriginalFile = async (path) => {
    const entry = (await filesOf())?.find(snapshot.first.tree, pathBytes(path))
    const content = entry ? await kept?.blob(entry.id) : null
    return entry && content ? { mode: entry.mode, content } : null
  }
  const protectedFiles = await filesOfStart(work, notCopied, filesOf)
  // The agent could have prepared what tools keep to be faster.
  const caches = now.caches.map((path) => ({ path, content: null }))
  return protectedFiles.map(({ files: own, added }) => {
    const { packages: dependencies } = changed
    return { files: [...own, ...caches], added, notCopied, dependencies, original }
  })
}

/** What the first snapshot of the run left out; null if that cannot be read. */
async function leftOutAtStart(
  { session, effects }: Work,
  seq: number,
): Promise<readonly LeftOut[] | null> {
  const { store, state } = session
  const [logged] = (await readRecords(store, state.runId, seq, 1)).unwrapOr([])
  if (logged?.record.kind !== 'snapshot') return null
  return leftOutOf({ snapshot: logged.record.payload }, { read: effects.readArtifact })
}

/** Secrets and large files that are not those of the start. */
function otherFiles(first: readonly LeftOut[], now: readonly LeftOut[]): string[] {
  const idOf = ({ sha256, commitment }: LeftOut) => commitment ?? sha256
  const before = new Map(first.map((one) => [one.path, idOf(one)]))
  return now
    .filter(({ why }) => why === 'secret' || why === 'large')
    .filter((one) => idOf(one) === undefined || idOf(one) !== before.get(one.path))
    .map(({ path }) => path)
}

/** The files that make the protected ones those of the start, and the tests that were added since. */
async function filesOfStart(
  { session, snapshots }: Work,
  notCopied: readonly string[],
  filesOf: () => Promise<RunFiles | null>,
): Promise<Result<Pick<StartOfRun, 'files' | 'added'>, string>> {
  const { first } = session.state.snapshot ?? {}
  if (first?.protected === undefined) return err('Nobody knows which files were protected')
  const compared = await snapshots.protection.compared()
  if (compared === null) return err('The protected files cannot be compared')
  const { before, now } = compared
  const known = new Map(before.map((file) => [bytesOf(file), file]))
  const same = new Set<string>()
  const added: string[] = []
  const files: PutFile[] = []
  for (const file of now) {
    const path = bytesOf(file)
    const was = known.get(path)
    const isCopied = !notCopied.some((one) => isWithin(one, file.path))
    // Without an id, it is bytecode that a tool has made, or somebody in place of a test.
    if (was === undefined && file.id !== null && file.test === true) added.push(path)
    else if (was === undefined || file.id === null) files.push({ path, content: null })
    else if (was.id === file.id && was.mode === file.mode && isCopied) same.add(path)
  }
  // A file without an id is what the check itself writes.
  const lost = before.filter((file) => file.id !== null && !same.has(bytesOf(file))).map(bytesOf)
  const kept = lost.length === 0 ? null : await filesOf()
  for (const path of lost) {
    const entry = kept?.find(first.tree, path)
    const content = entry && ((await kept?.blob(entry.id)) ?? null)
    // What snapshots leave out, such as a secret, is not copied if it is another one now.
    if (entry === null) files.push({ path, content: null })
    else if (entry && content) files.push({ path, mode: entry.mode, content })
    else return err(`${path} is not kept as it was at the start`)
  }
  return ok({ files, added })
}

const bytesOf = ({ path, bytes }: ProtectedFile): string => bytes ?? pathBytes(path)
