import type { RunChanges } from '../../../src/client/index.ts'
import { countUpTo } from '../run/moments.ts'
import type { RunView } from '../run/run-view.ts'

/** What a person looks at: the changes since the beginning of the run, or those of one iteration. */
export type Scope = 'run' | number

/** Two snapshots, by the seqs of their records. */
export type Between = { readonly from: number; readonly to: number }

/** Between which snapshots changes are looked at, at a moment; null if there is no snapshot yet. */
export function betweenOf(view: RunView, moment: number, scope: Scope): Between | null {
  const { filesAt, iterationStarts } = view
  const [first] = filesAt
  if (first === undefined || first > moment) return null
  const lastAt = (seq: number): number =>
    filesAt[countUpTo(filesAt, seq, (each) => each) - 1] ?? first
  const iteration = scope === 'run' ? 0 : Math.min(scope, iterationsAt(view, moment))
  const next = scope === 'run' ? undefined : iterationStarts[iteration]
  return {
    from: lastAt(iterationStarts[iteration - 1] ?? first),
    to: lastAt(Math.min(moment, (next ?? Number.POSITIVE_INFINITY) - 1)),
  }
}

/** How many iterations have begun at a moment. */
export const iterationsAt = ({ iterationStarts }: RunView, moment: number): number =>
  countUpTo(iterationStarts, moment, (start) => start)

type LeftOut = RunChanges['left_out'][number]

/** Something that snapshots do not have. `change`: what is known to have happened to it, null for nothing. */
export type LeftOutChange = {
  readonly entry: LeftOut
  readonly change: 'new' | 'changed' | 'gone' | null
}

/** What is known of a content. */
const contentOf = ({ why, commit, size, sha256, commitment }: LeftOut): string =>
  JSON.stringify([why, commit, size, sha256, commitment])

/**
 * What two snapshots do not have.
 * @param before null if that is not known: then nothing is known to have changed
 */
export function leftOutChanges(
  before: readonly LeftOut[] | null,
  after: readonly LeftOut[],
): LeftOutChange[] {
  const old = new Map(before?.map((entry) => [entry.path, entry]))
  const left = new Set(after.map(({ path }) => path))
  const changeOf = (entry: LeftOut): LeftOutChange['change'] => {
    const known = old.get(entry.path)
    if (before === null) return null
    if (known === undefined) return 'new'
    return contentOf(known) === contentOf(entry) ? null : 'changed'
  }
  const gone = before?.filter(({ path }) => !left.has(path)) ?? []
  return [
    ...after.map((entry) => ({ entry, change: changeOf(entry) })),
    ...gone.map((entry) => ({ entry, change: 'gone' as const })),
  ]
}

/** What the snapshot at `seq` does not have; null if another place has the list. */
export function leftOutAt({ records }: RunView, seq: number): readonly LeftOut[] | null {
  const record = records[seq]
  const named = record?.kind === 'snapshot' ? record.payload.left_out : null
  return Array.isArray(named) ? named : null
}
