import { err, ok, type Result } from 'neverthrow'
import type { CarriedFile } from '../domain/carried-files.ts'
import type { CarryError } from '../domain/errors.ts'
import { maskedPath, processMask } from '../log/masking.ts'
import type { RunFiles } from '../snapshots/run-files.ts'
import type { Failure, Workspace } from '../workspace/workspace.ts'
import { describeProblem } from '../workspace/workspace-process.ts'
import type { CarriedChange, CarriedChanges } from './carried.ts'
import { inMessages } from './clean-copy.ts'

/** What was carried, or would be: what is as it is to be already is not among the files. */
export type Carried = {
  readonly files: readonly (CarriedFile & { readonly conflict?: string })[]
  readonly not_carried: readonly string[]
  readonly patch?: string
  readonly branch?: string
  readonly commit?: string
  /** That of the record. */
  readonly seq?: number
}

/** How long all of the files may take. */
const WITHIN_MS = 5 * 60_000
const CONFLICT = 'Somebody has changed it since, or it cannot come where something else is.'

export const shown = ({ path, action }: Pick<CarriedChange, 'path' | 'action'>) => ({
  ...{ path: maskedPath(path), action },
})

const notCarried = ({ problem, path = '.' }: Failure): CarryError => ({
  ...{ type: 'not_carried', message: describeProblem(path, problem) },
})

/** Writes all of the changes that are not made yet, or none if one of them is in conflict. */
export async function write(
  workspace: Workspace,
  { changes, notCarried: not_carried }: CarriedChanges,
  files: RunFiles,
  isLook: boolean,
): Promise<Result<Carried, CarryError>> {
  const how = { withinMs: WITHIN_MS }
  const asked = changes.map(({ path, from, to }) => ({ path, from, to, bytes: null }))
  const looked = await workspace.ask('carry', { files: asked, isLook: true }, how)
  if (looked.isErr()) return err(notCarried(looked.error))
  const { found } = looked.value
  const due = changes.filter((_, at) => found[at] === 'due')
  const inWay = changes.filter((_, at) => found[at] === 'other')
  const wrong = (all: readonly CarriedChange[]) =>
    all.map((one) => ({ ...shown(one), conflict: CONFLICT }))
  if (isLook) {
    const both = [...due.map(shown), ...wrong(inWay)].toSorted((a, b) => (a.path < b.path ? -1 : 1))
    return ok({ files: both, not_carried })
  }
  const inConflict = (all: readonly CarriedChange[]): CarryError => ({
    type: 'in_conflict',
    files: wrong(all).map(({ path, conflict: why }) => ({ path, why })),
  })
  if (inWay.length > 0) return err(inConflict(inWay))
  // What is in the way of a file goes before it.
  const order = due.toSorted((a, b) => Number(a.to !== null) - Number(b.to !== null))
  for await (const group of inMessages(withContents(order, files))) {
    const lost = group.find(({ to, content }) => to !== null && content === null)
    if (lost !== undefined) {
      const message = `The content of ${maskedPath(lost.path)} is lost.`
      return err({ type: 'not_carried', message })
    }
    const wanted = group.map(({ path, from, to, content }) => {
      return { path, from, to, bytes: content?.length ?? null }
    })
    const body = Buffer.concat(group.flatMap(({ content }) => content ?? []))
    const done = await workspace.ask('carry', { files: wanted, isLook: false }, { ...how, body })
    if (done.isErr()) return err(notCarried(done.error))
    const late = group.filter((_, at) => done.value.found[at] === 'other')
    if (late.length > 0) return err(inConflict(late))
  }
  return ok({ files: due.map(shown), not_carried })
}

/** Each content is read only when it is its turn. */
async function* withContents(changes: readonly CarriedChange[], files: RunFiles) {
  for (const change of changes) {
    yield { ...change, content: change.to && (await files.blob(change.to.id)) }
  }
}

/** Makes a branch with a patch on top of HEAD, and changes nothing else in the repository. */
export async function makeBranch(
  workspace: Workspace,
  all: Pick<Carried, 'not_carried'> & { readonly files: readonly CarriedFile[] },
  asked: { name: string; message: string; patch: Buffer; dry_run: boolean },
): Promise<Result<Carried, CarryError>> {
  const { name, message, patch: body, dry_run: isLook } = asked
  const made = await workspace.ask(
    'branch',
    { name, message, isLook },
    { withinMs: WITHIN_MS, body },
  )
  if (made.isErr()) return err(notCarried(made.error))
  const { commit, problem } = made.value
  const conflicts = made.value.conflicts.map(processMask.text)
  if (problem !== null) return err({ type: 'not_carried', message: problem })
  const why =
    'HEAD of the project has something else there, or not all that was there at the start.'
  if (isLook) {
    const inWay = new Set(conflicts)
    const files = all.files.map((file) =>
      inWay.has(file.path) ? { ...file, conflict: why } : file,
    )
    return ok({ ...all, files })
  }
  if (commit === null)
    return err({ type: 'in_conflict', files: conflicts.map((path) => ({ path, why })) })
  return ok({ ...all, branch: name, commit })
}
