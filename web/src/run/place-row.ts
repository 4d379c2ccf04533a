import type { Note, Row, RowOf } from './rows.ts'
import type { SeqRecord, SeqRecordOf } from './seq-record.ts'

/** The part of a view under construction that rows are placed in. */
type Draft = {
  readonly rows: Row[]
  readonly rowOfSeq: number[]
  readonly iterationStarts: readonly number[]
}

/** Puts a record into the timeline: as a row of its own, or into the row that it completes. */
export function placeRow(draft: Draft, record: SeqRecord): void {
  const { seq } = record
  switch (record.kind) {
    case 'step_start':
      beginStep(draft, record)
      break
    case 'llm_usage':
      if (record.payload.purpose !== undefined) push(draft, note(record))
      else push(draft, { type: 'message', seq, usage: record, end: null })
      break
    case 'assistant_message':
      endRow(draft, 'message', record)
      break
    case 'tool_call':
      push(draft, { type: 'tool', seq, call: record, end: null })
      break
    case 'tool_result':
      endRow(draft, 'tool', record)
      break
    case 'goal_check':
      // Before the first iteration, more than the check comes before the next step.
      endStep(draft, record)
      push(draft, { type: 'goal', seq, check: record })
      break
    case 'human_check_required':
      push(draft, { type: 'human', seq, required: record, end: null })
      break
    case 'human_check_response':
      endStep(draft, record)
      endRow(draft, 'human', record)
      break
    case 'iteration_complete':
      closeIteration(draft, record)
      break
    case 'run_end':
      endStep(draft, record)
      push(draft, note(record))
      break
    case 'llm_retry':
    case 'error':
      dropReply(draft, record)
      push(draft, note(record))
      break
    default:
      push(draft, note(record))
  }
}

/** Completes the open row of this type. A record that completes none is a row of its own. */
function endRow(draft: Draft, type: 'message' | 'tool' | 'human', record: Note): void {
  const open = lastOf(draft, type)
  if (open === null || open.row.end !== null) push(draft, note(record))
  else {
    draft.rowOfSeq.push(open.index)
    draft.rows[open.index] = { ...open.row, end: record } as Row
  }
}

/** The usage right before a failure is that of a reply that could not be used. */
function dropReply({ rows }: Draft, { seq }: SeqRecord): void {
  const last = rows.at(-1)
  if (last?.type === 'message' && last.seq === seq - 1) rows[rows.length - 1] = note(last.usage)
}

const note = (record: Note): Row => ({ type: 'note', seq: record.seq, record })

function push(draft: Draft, row: Row): void {
  draft.rowOfSeq[row.seq] = draft.rows.length
  draft.rows.push(row)
}

/** The row of this type that a record completes. Only notes can come between the two. */
function lastOf<T extends Row['type']>(draft: Draft, type: T) {
  const { rows } = draft
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index]
    if (row === undefined || row.type === 'iteration') return null
    if (isOf(row, type)) return { index, row }
  }
  return null
}

function isOf<T extends Row['type']>(row: Row, type: T): row is RowOf<T> {
  return row.type === type
}

/** Whether an iteration begins here. It has a plan step for each turn of the model. */
export function beginsIteration(
  { iterationStarts }: Pick<Draft, 'iterationStarts'>,
  { iteration, payload: { node } }: SeqRecordOf<'step_start'>,
): boolean {
  return node === 'plan' && iteration > iterationStarts.length
}

function beginStep(draft: Draft, record: SeqRecordOf<'step_start'>): void {
  endStep(draft, record)
  const { seq, ts, iteration } = record
  const { node } = record.payload
  if (beginsIteration(draft, record)) {
    push(draft, { type: 'iteration', seq, iteration, ts, end: null })
  }
  push(draft, { type: 'step', seq, node, ts, end: null })
}

/** The step under way ends with the record. */
function endStep(draft: Draft, { seq, ts }: SeqRecord): void {
  const open = lastOf(draft, 'step')
  if (open === null || open.row.end !== null) return
  draft.rows[open.index] = { ...open.row, end: { seq, ts } }
}

function closeIteration(draft: Draft, record: SeqRecordOf<'iteration_complete'>): void {
  endStep(draft, record)
  const index = draft.rowOfSeq[draft.iterationStarts.at(-1) ?? -1]
  const head = index === undefined ? -1 : index - 1
  const row = draft.rows[head]
  if (row?.type === 'iteration') draft.rows[head] = { ...row, end: record }
  push(draft, { type: 'closed', seq: record.seq, record })
}
