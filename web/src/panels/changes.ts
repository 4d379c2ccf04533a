import { type CallOutcome, changedBy, writtenFiles } from '../../../src/domain/file-changes.ts'
import { countUpTo } from '../run/moments.ts'
import type { RowOf } from '../run/rows.ts'
import type { RunView } from '../run/run-view.ts'

/** A call that may have changed something. `ended` is the seq of its result, and infinite without one. */
type Call = { readonly seq: number; readonly ended: number; readonly outcome: CallOutcome }

/** The calls of a run that may have changed something, so that those up to a record are found at once. */
export type ChangeLog = {
  readonly files: ReadonlyMap<string, readonly Call[]>
  /** The seqs of calls that do not name what they change. */
  readonly commands: readonly number[]
  /** The seqs of the results of calls that failed. */
  readonly failed: readonly number[]
}

export function changesIn({ rows }: RunView): ChangeLog {
  const files = new Map<string, Call[]>()
  const commands: number[] = []
  const failed: number[] = []
  for (const row of rows) {
    if (row.type !== 'tool' || row.call.payload.read_only) continue
    const call = callOf(row)
    const paths = writtenFiles(row.call.payload)
    if (paths.length === 0) commands.push(call.seq)
    for (const path of paths) {
      const calls = files.get(path) ?? []
      files.set(path, calls)
      calls.push(call)
    }
    if (call.outcome !== null && call.outcome !== 'ok') failed.push(call.ended)
  }
  return { files, commands, failed }
}

const callOf = ({ call, result }: RowOf<'tool'>): Call => ({
  seq: call.seq,
  ended: result?.seq ?? Number.POSITIVE_INFINITY,
  outcome: result?.payload.outcome ?? null,
})

export type FileChange = {
  readonly path: string
  readonly changed: 'yes' | 'unknown'
  /** How many calls may have changed it. */
  readonly count: number
  /** The seq of the result of the last one, or of that call if it has none. */
  readonly last: number
}

/** What was changed up to the record `moment`: the files that changed last come first. */
export function changesUpTo({ files, commands, failed }: ChangeLog, moment: number) {
  const changed = [...files].flatMap(([path, calls]) => changeOf(path, calls, moment) ?? [])
  return {
    files: changed.sort((one, other) => other.last - one.last),
    commands: countUpTo(commands, moment, (seq) => seq),
    failed: failed.slice(
      0,
      countUpTo(failed, moment, (seq) => seq),
    ),
  }
}

/** Null if no call has changed the file by then. */
function changeOf(path: string, all: readonly Call[], moment: number): FileChange | null {
  const calls = all.slice(
    0,
    countUpTo(all, moment, ({ seq }) => seq),
  )
  const last = calls.at(-1)
  if (last === undefined) return null
  // Only the last one can be under way.
  if (last.ended > moment) calls[calls.length - 1] = { ...last, outcome: null }
  const changed = changedBy(calls)
  if (changed === 'no') return null
  const { seq, ended } = last
  return { path, changed, count: calls.length, last: Number.isFinite(ended) ? ended : seq }
}
