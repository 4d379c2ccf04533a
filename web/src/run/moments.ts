import type { RunView } from './run-view.ts'

/** What is shown of a run at a moment, and leads to another one. */
export type AtMoment = {
  readonly view: RunView
  /** The seq of the record that is shown. */
  readonly moment: number
  readonly onSeek: (seq: number) => void
}

/** The last element up to `seq`, in a list sorted by seq. */
export function lastUpTo<T extends { readonly seq: number }>(
  list: readonly T[],
  seq: number,
): T | null {
  return list[countUpTo(list, seq, (item) => item.seq) - 1] ?? null
}

/** How many elements of a sorted list come up to `seq`. */
export function countUpTo<T>(list: readonly T[], seq: number, seqOf: (item: T) => number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    const item = list[middle]
    if (item !== undefined && seqOf(item) <= seq) low = middle + 1
    else high = middle
  }
  return low
}

/** The seq where the iteration before (-1) or after (1) the one at `seq` begins. */
export function iterationBeside(view: RunView, seq: number, direction: -1 | 1): number | null {
  const { iterationStarts } = view
  const begun = countUpTo(iterationStarts, seq, (start) => start)
  if (direction === 1) return iterationStarts[begun] ?? null
  const current = iterationStarts[begun - 1]
  if (current === undefined) return null
  return current < seq ? current : (iterationStarts[begun - 2] ?? 0)
}
