import { buffer } from 'node:stream/consumers'
import * as z from 'zod'
import type { RunChanges } from '../api/changes.ts'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import { present } from '../domain/present.ts'
import { LeftOut } from '../domain/snapshots.ts'
import { maskedContent, maskedPath, processMask } from '../masking/process-mask.ts'
import { compareTrees, type TreeChange, type TreeComparison } from './compare-trees.ts'
import { diffFile, type ReadBlob } from './file-diff.ts'
import { patchOf } from './patch.ts'
import type { RunFiles, SnapshotAt } from './run-files.ts'

/** What a question about changes is about. */
export type Between = {
  readonly from: SnapshotAt
  readonly to: SnapshotAt
  /** The path of the only file, as people read it. */
  readonly path?: string | undefined
}

/** What happened to the files of a run between two snapshots. */
export async function changesOf(
  runId: string,
  between: Between,
  { files, artifacts }: { readonly files: RunFiles; readonly artifacts: ArtifactSource },
): Promise<RunChanges> {
  const { from, to } = between
  const comparison = await compared(files, between)
  const changes: RunChanges['files'][number][] = []
  for (const change of comparison.changes) {
    let hasSecret = false
    const read = maskedBlobs(files, () => {
      hasSecret = true
    })
    const diff = await diffFile(change, read)
    const { path, oldPath, status, old, new: fresh } = change
    const isPlain = [old, fresh].every((file) => file === null || file.mode === '100644')
    const { additions = 0, deletions = 0, binary = false, contents = null } = diff ?? {}
    const sizes = binary ? contents : null
    changes.push({
      path: maskedPath(path),
      status,
      additions,
      deletions,
      binary,
      ...present({
        old_path: oldPath === undefined ? undefined : maskedPath(oldPath),
        old_mode: isPlain ? undefined : old?.mode,
        mode: isPlain ? undefined : fresh?.mode,
        old_size: sizes?.old?.length,
        size: sizes?.new?.length,
        withheld:
          diff === null ? ('not_kept' as const) : hasSecret ? ('masked' as const) : undefined,
      }),
    })
  }
  return {
    run_id: runId,
    from: { seq: from.seq, tree: from.snapshot.tree },
    to: { seq: to.seq, tree: to.snapshot.tree },
    files: changes,
    unknown: comparison.unknown.map(maskedPath),
    left_out: [...((await leftOutOf(to, artifacts)) ?? [])],
  }
}

/** Which changes are in a patch, and how: left out, all of them, with their secrets masked. */
type PatchOptions = {
  readonly kept?: readonly { readonly path: string }[]
  readonly isMasked?: boolean
}

/** What makes the files of the one snapshot those of the other, for `git apply --binary`. */
export async function changesAsPatch(
  files: RunFiles,
  between: Between,
  { kept, isMasked = true }: PatchOptions = {},
): Promise<Buffer> {
  const all = await compared(files, between)
  const paths = new Set(kept?.map(({ path }) => path))
  const isKept = ({ path, oldPath = path }: TreeChange) => paths.has(path) && paths.has(oldPath)
  const changes = kept === undefined ? all.changes : all.changes.filter(isKept)
  const read = isMasked ? maskedBlobs(files) : (id: string) => files.blob(id)
  return patchOf(isMasked ? changes.map(withMaskedNames) : changes, read)
}

const withMaskedNames = ({ path, oldPath, ...change }: TreeChange): TreeChange => ({
  ...change,
  path: processMask.text(path),
  ...(oldPath !== undefined && { oldPath: processMask.text(oldPath) }),
})

async function compared(files: RunFiles, { from, to, path }: Between): Promise<TreeComparison> {
  const { tree: old } = from.snapshot
  const found = await compareTrees(old, to.snapshot.tree, async (id) => files.tree(id))
  if (path === undefined) return found
  return { ...found, changes: found.changes.filter((change) => maskedPath(change.path) === path) }
}

/** Reads the files of a run, with their secrets masked. @param onMasked called for each file that has one */
const maskedBlobs =
  (files: RunFiles, onMasked: () => void = () => {}): ReadBlob =>
  async (id) => {
    const content = await files.blob(id)
    const masked = content && maskedContent(content)
    if (masked !== content) onMasked()
    return masked
  }

/** What a snapshot left out; null if the list was an artifact that is missing. */
export const leftOutOf = (
  { snapshot }: Pick<SnapshotAt, 'snapshot'>,
  artifacts: ArtifactSource,
): Promise<readonly LeftOut[] | null> => listOf(snapshot.left_out, LeftOut, artifacts)

/** A list that a record holds, or names as an artifact; null if that is missing. */
export async function listOf<T>(
  named: readonly T[] | { readonly sha256: string },
  item: z.ZodType<T>,
  artifacts: ArtifactSource,
): Promise<readonly T[] | null> {
  if (!('sha256' in named)) return named
  const found = await artifacts.read(named.sha256)
  return found && z.array(item).parse(JSON.parse((await buffer(found.stream)).toString()))
}
