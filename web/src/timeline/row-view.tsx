import { memo } from 'react'
import type { Row } from '../run/rows.ts'
import { ClosedRow } from './closed-row.tsx'
import { GoalRow } from './goal-row.tsx'
import { HumanRow } from './human-row.tsx'
import { IterationRow } from './iteration-row.tsx'
import { MessageRow } from './message-row.tsx'
import { NoteRow } from './note-row.tsx'
import { StepRow } from './step-row.tsx'
import { ToolRow } from './tool-row.tsx'

type Props = {
  readonly row: Row
  /** The row is shown as it was after this record; Infinity if all of its records had happened. */
  readonly moment: number
  readonly began: number
  /** Whether the run was still at work then. */
  readonly working: boolean
}

export const RowView = memo(function RowView({ row, moment, began, working }: Props) {
  switch (row.type) {
    case 'iteration':
      return <IterationRow row={row} began={began} />
    case 'step':
      return <StepRow row={row} moment={moment} working={working} />
    case 'message':
      return <MessageRow row={row} moment={moment} />
    case 'tool':
      return <ToolRow row={row} moment={moment} working={working} />
    case 'goal':
      return <GoalRow row={row} />
    case 'human':
      return <HumanRow row={row} moment={moment} ended={!working} />
    case 'closed':
      return <ClosedRow row={row} />
    case 'note':
      return <NoteRow row={row} />
  }
})

/** The seq of the last record that a row holds: after that it does not change any more. */
export function lastSeqOf(row: Row): number {
  switch (row.type) {
    case 'iteration':
      return row.closed?.seq ?? Number.POSITIVE_INFINITY
    case 'step':
      return row.until?.seq ?? Number.POSITIVE_INFINITY
    case 'message':
      return row.message?.seq ?? Number.POSITIVE_INFINITY
    case 'tool':
      return row.result?.seq ?? Number.POSITIVE_INFINITY
    case 'human':
      return row.response?.seq ?? Number.POSITIVE_INFINITY
    default:
      return row.seq
  }
}
