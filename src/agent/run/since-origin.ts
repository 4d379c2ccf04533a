import {
  MOST_NAMED,
  type SinceOrigin,
  type Snapshot,
  type Tampered,
} from '../../domain/snapshots.ts'
import { shownPath } from '../../lib/git-objects.ts'
import { compareTrees } from '../../snapshots/compare-trees.ts'
import type { RunFiles, SnapshotAt } from '../../snapshots/run-files.ts'
import type { RunSession } from './session.ts'

/**
 * The files of a run as its snapshots have them, and further snapshots; null if the log cannot be read. Rejects if the place
 * of the artifacts cannot be read now.
 */
export type FilesOf = (runId: string, more?: readonly SnapshotAt[]) => Promise<RunFiles | null>

/**
 * What others have done to the files since the last snapshot of the run that this one continues, by the first snapshot of
 * this one. Null if nothing, or if that is not known. Rejects as `filesOf` does.
 */
export async function sinceOrigin(
  { state: { origin, snapshot, iteration } }: Pick<RunSession, 'state'>,
  first: Snapshot,
  filesOf: FilesOf,
): Promise<SinceOrigin | null> {
  if (origin?.kind !== 'continue' || snapshot !== undefined || iteration > 0) return null
  const files = await filesOf(origin.run_id, [{ seq: Number.POSITIVE_INFINITY, snapshot: first }])
  const last = files?.snapshots.findLast(({ seq }) => seq <= origin.seq)?.snapshot
  if (files === null || last === undefined) return null
  const found = await compareTrees(last.tree, first.tree, async (id) => files.tree(id))
  const changes = [
    ...found.changes.flatMap(({ path, oldPath, status }): Tampered[] =>
      status === 'renamed'
        ? [
            { path: shownPath(oldPath ?? ''), change: 'deleted' },
            { path: shownPath(path), change: 'added' },
          ]
        : [{ path: shownPath(path), change: status }],
    ),
    ...found.unknown.map((path): Tampered => ({ path: shownPath(path), change: 'modified' })),
  ]
  if (changes.length === 0) return null
  const inOrder = changes.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  return { count: changes.length, files: inOrder.slice(0, MOST_NAMED) }
}
