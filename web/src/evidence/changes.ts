import { EMPTY_TREE, shownPath } from '../../../src/lib/git-objects.ts'
import { compareTrees } from '../../../src/snapshots/compare-trees.ts'
import { diffFile, type FileDiff } from '../../../src/snapshots/file-diff.ts'
import { type Child, element, list } from './element.ts'
import { type Evidence, objectsIn } from './read-export.ts'

/** The class of a line, by its sign. */
const CLASSES: Readonly<Record<string, string>> = { '+': 'added', '-': 'removed' }

/** More lines are not made, since no person reads them, and a browser would take minutes. */
const MAX_LINES = 20_000

const NO_SNAPSHOTS =
  'This run has no snapshots of its project, so the export cannot say what changed.'

/** What differs between the files of the first and of the last snapshot. */
export async function changes({ records, parts }: Evidence): Promise<Child[]> {
  const trees = records.flatMap(({ seq, record }) =>
    record?.kind === 'snapshot' ? [{ seq, id: record.payload.tree }] : [],
  )
  const first = trees[0]
  const last = trees.at(-1)
  if (first === undefined || last === undefined) return [element('p', NO_SNAPSHOTS)]
  const objects = objectsIn(parts)
  const found = await compareTrees(first.id, last.id, async (id) =>
    id === EMPTY_TREE ? [] : (objects.trees.get(id) ?? null),
  )
  let left = MAX_LINES
  const files: Child[] = []
  for (const change of found.changes) {
    const diff = await diffFile(change, async (id) => objects.blobs.get(id) ?? null)
    const from = change.oldPath === undefined ? '' : ` from ${shownPath(change.oldPath)}`
    const title = `${shownPath(change.path)}: ${change.status}${from}`
    files.push(element('h3', title), ...linesOf(diff, left))
    left -= diff?.hunks.reduce((sum, { lines }) => sum + lines.length, 0) ?? 0
  }
  const unknown = found.unknown.map(
    (path) => `${shownPath(path) || 'The project'}: its tree is not in the export`,
  )
  const between = `Between the snapshots of record ${first.seq} and of record ${last.seq}: ${found.changes.length} files.`
  return [element('p', between), ...files, ...(unknown.length === 0 ? [] : [list(unknown)])]
}

function linesOf(diff: FileDiff | null, most: number): Child[] {
  if (diff === null) return [element('p', 'Its content is not in this export.')]
  if (diff.binary) return [element('p', 'It is not text.')]
  const count = diff.hunks.reduce((sum, { lines }) => sum + lines.length, 0)
  if (count > most) return [element('p', `${count} lines, which are too many for this page.`)]
  return diff.hunks.map(({ oldStart, newStart, lines }) =>
    element(
      'pre.diff',
      element('span', `@@ -${oldStart} +${newStart} @@\n`),
      ...lines.map((line) => {
        const sign = line.charAt(0)
        return element(`span.${CLASSES[sign] ?? 'same'}`, `${sign}${shownPath(line.slice(1))}\n`)
      }),
    ),
  )
}
