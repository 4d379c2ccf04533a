import { evolve } from '../../../src/domain/evolve.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { beginsIteration, placeRow } from './place-row.ts'
import type { Row } from './rows.ts'
import { redactedIn, type SeqRecord } from './seq-record.ts'

/** A point of the line of tokens and cost: the totals after the record `seq`. */
type UsagePoint = {
  readonly seq: number
  readonly ts: number
  readonly tokens: number
  /** US dollars; null if a price was not known. */
  readonly costUsd: number | null
}

/** One check of the goal. */
export type Verdict = {
  readonly seq: number
  readonly iteration: number
  readonly achieved: boolean
  readonly reason: string
}

/** Why no further records were accepted: a run cannot have them, or not in this order. */
type Break = { readonly seq: number; readonly message: string }

/**
 * Everything that the console shows of a run, folded from its records. It is never changed: a longer
 * one is made from it. The record with seq n is `records[n]`.
 */
export type RunView = {
  readonly records: readonly SeqRecord[]
  readonly rows: readonly Row[]
  /** By seq: the index of the row that shows the record. */
  readonly rowOfSeq: readonly number[]
  /** By iteration, from 1: the seq that it begins with. */
  readonly iterationStarts: readonly number[]
  readonly usage: readonly UsagePoint[]
  readonly verdicts: readonly Verdict[]
  /** seqs of the human checks and pauses. */
  readonly humanChecks: readonly number[]
  /** seqs of the snapshots of the project's files. */
  readonly filesAt: readonly number[]
  /** seqs of the records in which texts were redacted. */
  readonly redactions: readonly number[]
  readonly state: RunState | null
  /** The states after records STRIDE - 1, 2 * STRIDE - 1, …: where folding up to a moment begins. */
  readonly snapshots: readonly RunState[]
  readonly broken: Break | null
}

const STRIDE = 256

export const EMPTY_VIEW: RunView = {
  records: [],
  rows: [],
  rowOfSeq: [],
  iterationStarts: [],
  usage: [],
  verdicts: [],
  humanChecks: [],
  filesAt: [],
  redactions: [],
  state: null,
  snapshots: [],
  broken: null,
}

/** A view under construction: arrays of its own, the rows in them still shared and never changed. */
type Draft = {
  -readonly [K in keyof RunView]: RunView[K] extends readonly (infer T)[] ? T[] : RunView[K]
}

/**
 * The view with further records, oldest first. Records that it has are skipped; after a gap or a
 * record that no run can have, no more are accepted. Costs a copy of the arrays and the new
 * records, so hand over many at a time.
 */
export function extend(view: RunView, records: readonly SeqRecord[]): RunView {
  const draft: Draft = Object.fromEntries(
    Object.entries(view).map(([name, part]) => [name, Array.isArray(part) ? [...part] : part]),
  ) as Draft
  for (const record of records) {
    if (draft.broken !== null) break
    take(draft, record)
  }
  return draft
}

function take(draft: Draft, record: SeqRecord): void {
  const expected = draft.records.length
  if (record.seq < expected) return
  if (record.seq > expected) {
    draft.broken = {
      seq: expected,
      message: `record ${record.seq} came instead of record ${expected}`,
    }
    return
  }
  const state = accept(draft, record)
  if (state === null) return
  draft.state = state
  draft.records.push(record)
  if (draft.records.length % STRIDE === 0) draft.snapshots.push(state)
  placeRow(draft, record)
  collect(draft, record, state)
}

/** The state after the record; null if the rules of the domain do not allow it there. */
function accept(draft: Draft, record: SeqRecord): RunState | null {
  try {
    return evolve(draft.state, record)
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    draft.broken = { seq: record.seq, message }
    return null
  }
}

function collect(draft: Draft, record: SeqRecord, { total }: RunState): void {
  const { seq, ts, iteration } = record
  if (redactedIn(record) > 0) draft.redactions.push(seq)
  switch (record.kind) {
    case 'llm_usage':
      draft.usage.push({ seq, ts, tokens: total.tokens, costUsd: total.costUsd })
      break
    case 'goal_check': {
      const { achieved, reason } = record.payload
      draft.verdicts.push({ seq, iteration, achieved, reason })
      break
    }
    case 'human_check_required':
    case 'run_paused':
      draft.humanChecks.push(seq)
      break
    case 'snapshot':
    case 'files_rolled_back':
      draft.filesAt.push(seq)
      break
    case 'step_start':
      if (beginsIteration(draft, record)) draft.iterationStarts.push(seq)
      break
  }
}

/** The state of the run right after the record `seq`; null before its first. */
export function stateAt(view: RunView, seq: number): RunState | null {
  if (seq >= view.records.length - 1) return view.state
  if (seq < 0) return null
  const whole = Math.floor((seq + 1) / STRIDE)
  let state = view.snapshots[whole - 1] ?? null
  for (const record of view.records.slice(whole * STRIDE, seq + 1)) state = evolve(state, record)
  return state
}
