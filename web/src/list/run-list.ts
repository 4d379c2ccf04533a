import type { RunPage, RunQuery, RunSummary } from '../../../src/client/index.ts'

/** The runs that are known of a list, in its order without gaps; `next` is the cursor after them. */
export type RunList = { readonly runs: readonly RunSummary[]; readonly next: string | null }

export type ListOrder = Pick<RunQuery, 'sort' | 'order'>

const keyOf = (run: RunSummary, { sort = 'created' }: ListOrder): string | number => {
  const keys = {
    created: run.created_at,
    updated: run.updated_at ?? run.created_at,
    // A cost that is not known is less than any.
    cost: run.estimated_cost_usd ?? -1,
    iterations: run.iteration ?? 0,
  }
  return keys[sort]
}

/** Whether a run comes after another one in a list of this order. */
function isAfter(run: RunSummary, other: RunSummary, order: ListOrder): boolean {
  const [key, otherKey] = [keyOf(run, order), keyOf(other, order)]
  const isLess = key === otherKey ? run.run_id < other.run_id : key < otherKey
  return run.run_id !== other.run_id && isLess === (order.order !== 'asc')
}

/**
 * The list with its first page read again: the page replaces the part that it covers. A page
 * that no longer reaches what was known resets the list.
 */
export function withHead(list: RunList | null, page: RunPage, order: ListOrder = {}): RunList {
  const last = page.runs.at(-1)
  if (list === null || last === undefined || page.next === null) return page
  const covered = new Set(page.runs.map(({ run_id }) => run_id))
  const rest = list.runs.filter((run) => !covered.has(run.run_id) && isAfter(run, last, order))
  const touches = rest.length < list.runs.length
  return touches ? { runs: [...page.runs, ...rest], next: list.next ?? null } : page
}

/** The list with one more page at its end. */
export function withOlder(list: RunList, page: RunPage): RunList {
  const known = new Set(list.runs.map(({ run_id }) => run_id))
  const older = page.runs.filter(({ run_id }) => !known.has(run_id))
  return { runs: [...list.runs, ...older], next: page.next }
}
