import type { RunPage, RunSummary } from '../../../src/client/index.ts'

/** The runs that are known of a list, newest first without gaps; `next` is the cursor after them. */
export type RunList = { readonly runs: readonly RunSummary[]; readonly next: string | null }

const isBehind = (run: RunSummary, other: RunSummary): boolean =>
  run.created_at === other.created_at
    ? run.run_id < other.run_id
    : run.created_at < other.created_at

/**
 * The list with its first page read again: the page replaces the part that it covers. A page
 * that no longer reaches what was known resets the list.
 */
export function withHead(list: RunList | null, page: RunPage): RunList {
  const last = page.runs.at(-1)
  if (list === null || last === undefined || page.next === null) return page
  const behind = list.runs.filter((run) => isBehind(run, last))
  const touches = behind.length < list.runs.length
  return touches ? { runs: [...page.runs, ...behind], next: list.next ?? null } : page
}

/** The list with one more page at its end. */
export function withOlder(list: RunList, page: RunPage): RunList {
  const last = list.runs.at(-1)
  const older = last === undefined ? page.runs : page.runs.filter((run) => isBehind(run, last))
  return { runs: [...list.runs, ...older], next: page.next }
}

/** Whether a text that a person types names the run. */
export function matches(run: RunSummary, text: string): boolean {
  const wanted = text.trim().toLowerCase()
  return run.run_id.startsWith(wanted) || run.goal.toLowerCase().includes(wanted)
}
