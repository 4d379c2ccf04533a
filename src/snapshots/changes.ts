import { buffer } from 'node:stream/consumers'
import * as z from 'zod'
import type { RunChanges } from '../api/changes.ts'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import { present } from '../domain/present.ts'
import { LeftOut } from '../domain/snapshots.ts'
import { shownPath } from '../lib/git-objects.ts'
import { maskedContent } from '../log/masking.ts'
import { compareTrees, type TreeComparison } from './compare-trees.ts'
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
    const masked = new MaskedBlobs(files)
    const diff = await diffFile(change, masked.read)
    const { path, oldPath, status, old, new: fresh } = change
    const isPlain = [old, fresh].every((file) => file === null || file.mode === '100644')
    const { additions = 0, deletions = 0, binary = false, contents = null } = diff ?? {}
    const sizes = binary ? contents : null
    changes.push({
      ...{ path: shownPath(path), status, additions, deletions, binary },
      ...present({
        old_path: oldPath === undefined ? undefined : shownPath(oldPath),
        old_mode: isPlain ? undefined : old?.mode,
        mode: isPlain ? undefined : fresh?.mode,
        old_size: sizes?.old?.length,
        size: sizes?.new?.length,
        withheld:
          diff === null ? ('not_kept' as const) : masked.found ? ('masked' as const) : undefined,
      }),
    })
  }
  return {
    run_id: runId,
    from: { seq: from.seq, tree: from.snapshot.tree },
    to: { seq: to.seq, tree: to.snapshot.tree },
    files: changes,
    unknown: comparison.unknown.map(shownPath),
    left_out: [...((await leftOutOf(to, artifacts)) ?? [])],
  }
}

/** What makes the files of the one snapshot those of the other, for `git apply --binary`. Secrets are masked in it. */
export async function changesAsPatch(files: RunFiles, between: Between): Promise<Buffer> {
  const { patch } = await patchOf(await compared(files, between), new MaskedBlobs(files).read)
  return patch
}

/** The same with these changes only. In a branch, secrets stay as they are. */
export async function patchOfKept(
  files: RunFiles,
  between: Between,
  kept: readonly { readonly path: string }[],
  as: 'patch' | 'branch',
): Promise<Buffer> {
  const found = await compared(files, between)
  const paths = new Set(kept.map(({ path }) => path))
  const changes = found.changes.filter(
    ({ path, oldPath = path }) => paths.has(path) && paths.has(oldPath),
  )
  const read = as === 'patch' ? new MaskedBlobs(files).read : (id: string) => files.blob(id)
  return (await patchOf({ changes, unknown: [] }, read)).patch
}

async function compared(files: RunFiles, { from, to, path }: Between): Promise<TreeComparison> {
  const { tree: old } = from.snapshot
  const found = await compareTrees(old, to.snapshot.tree, async (id) => files.tree(id))
  if (path === undefined) return found
  return { ...found, changes: found.changes.filter((change) => shownPath(change.path) === path) }
}

/** The files of a run, with their secrets masked. */
class MaskedBlobs {
  readonly #files: RunFiles
  /** Whether a file had one. */
  found = false

  constructor(files: RunFiles) {
    this.#files = files
  }

  readonly read: ReadBlob = async (id) => {
    const content = await this.#files.blob(id)
    const masked = content && maskedContent(content)
    this.found ||= masked !== content
    return masked
  }
}

/** Null if the list was an artifact that is missing. */
export async function leftOutOf(
  { snapshot }: SnapshotAt,
  artifacts: ArtifactSource,
): Promise<readonly LeftOut[] | null> {
  const { left_out: named } = snapshot
  if (Array.isArray(named)) return named
  const found = await artifacts.read(named.sha256)
  if (found === null) return null
  return z.array(LeftOut).parse(JSON.parse((await buffer(found.stream)).toString()))
}
