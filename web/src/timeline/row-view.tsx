import { IconHandStop, IconSparkles, IconTarget, IconTargetArrow } from '@tabler/icons-react'
import { memo } from 'react'
import { changesOfCheck } from '../../../src/domain/file-changes.ts'
import { Code } from '../code/code.tsx'
import { useFold } from '../code/fold.tsx'
import type { Row, RowOf, StepNode } from '../run/rows.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatClock, formatCost, formatCount, formatDuration } from '../ui/format.ts'
import { Frame } from './frame.tsx'
import { By } from './note-parts.tsx'
import { NoteRow } from './note-row.tsx'
import classes from './rows.module.css'
import { ToolRow } from './tool-row.tsx'
import { Words } from './words.tsx'

type Props = {
  readonly row: Row
  /** The row is shown as it was after this record; Infinity if all of its records had happened. */
  readonly moment: number
  readonly began: number
  /** Whether the run was still at work then. */
  readonly working: boolean
}

type RowProps<T extends Row['type']> = Omit<Props, 'row'> & { readonly row: RowOf<T> }

export const RowView = memo(function RowView({ row, ...shown }: Props) {
  switch (row.type) {
    case 'iteration':
      return <IterationRow row={row} {...shown} />
    case 'step':
      return <StepRow row={row} {...shown} />
    case 'message':
      return <MessageRow row={row} {...shown} />
    case 'tool':
      return <ToolRow row={row} {...shown} />
    case 'goal':
      return <GoalRow row={row} {...shown} />
    case 'human':
      return <HumanRow row={row} {...shown} />
    case 'closed':
      return <ClosedRow row={row} {...shown} />
    case 'note':
      return <NoteRow row={row} />
  }
})

function IterationRow({ row, began }: RowProps<'iteration'>) {
  return (
    <div className={classes.iteration}>
      <h2 className={classes.iterationTitle}>Iteration {row.iteration}</h2>
      <span className={classes.quiet}>at {formatClock(row.ts - began)}</span>
    </div>
  )
}

const STEPS: Readonly<Record<StepNode, string>> = {
  plan: 'Plan',
  act: 'Act',
  evaluate: 'Evaluate',
  human_check: 'Human check',
}

function StepRow({ row: { seq, node, ts, end }, moment, working }: RowProps<'step'>) {
  const begun = seq <= moment
  const over = end !== null && end.seq <= moment
  return (
    <div className={classes.step}>
      <span className={classes.stepName}>{STEPS[node]}</span>
      <span className={classes.quiet}>
        {over ? formatDuration(end.ts - ts) : working && begun ? 'in progress' : ''}
      </span>
    </div>
  )
}

/** How replies ended that are not whole. */
const ENDINGS: Readonly<Record<string, string>> = {
  length: 'cut off at its length limit',
  overflow: 'cut off by the context window',
  refusal: 'refused',
  pause: 'interrupted by the provider',
  empty: 'empty',
  malformed: 'with a call that cannot be read',
}

function MessageRow({ row: { usage, end }, moment }: RowProps<'message'>) {
  const message = end !== null && end.seq <= moment ? end : null
  const said = message?.payload ?? null
  const { input_tokens, output_tokens, cost_usd, duration_ms, model_name, omitted_turns } =
    usage.payload
  const ending = said === null ? undefined : ENDINGS[said.finish_reason]
  return (
    <Frame
      records={message === null ? [usage] : [usage, message]}
      icon={<IconSparkles size={15} stroke={1.7} />}
    >
      {said !== null && said.text !== null && said.text !== '' && <Words text={said.text} />}
      <div className={classes.facts}>
        <span>{model_name}</span>
        <span>
          {formatCount(input_tokens)} in, {formatCount(output_tokens)} out
        </span>
        <span>{formatDuration(duration_ms / 1000)}</span>
        {cost_usd !== null && <span>{formatCost(cost_usd)}</span>}
        {omitted_turns > 0 && <span>{counted(omitted_turns, 'earlier turn')} left out</span>}
        {ending !== undefined && <span title={said?.notice}>{ending}</span>}
      </div>
    </Frame>
  )
}

/** A reached goal is said by what was found: the head of the page says that it is reached. */
const headOf = ({ achieved, verdict, reason }: RowOf<'goal'>['check']['payload']): string => {
  if (verdict === 'cannot_check') return 'Cannot be checked'
  return achieved ? reason : 'Not there yet'
}

function GoalRow({ row: { check } }: RowProps<'goal'>) {
  const { achieved, verdict, reason, details, duration_ms } = check.payload
  const head = headOf(check.payload)
  const isFailed = verdict === 'cannot_check'
  const [open, toggle] = useFold(`goal ${check.seq}`)
  const Icon = achieved ? IconTargetArrow : IconTarget
  return (
    <Frame
      records={[check]}
      icon={<Icon size={15} stroke={1.8} />}
      tone={achieved ? 'achieved' : isFailed ? 'failed' : 'plain'}
    >
      <div className={classes.verdict} data-achieved={achieved} data-failed={isFailed}>
        <div className={classes.verdictHead}>
          <b>{visible(head)}</b>
          <span className={classes.quiet}>checked in {formatDuration(duration_ms / 1000)}</span>
        </div>
        {head !== reason && <p className={classes.reason}>{visible(reason)}</p>}
        {changesOfCheck(check.payload).map((words) => (
          <p key={words} className={classes.reason}>
            {visible(words)}
          </p>
        ))}
        {details.trim() !== '' && (
          <button type="button" className={classes.link} aria-expanded={open} onClick={toggle}>
            {open ? 'Hide what the check printed' : 'What the check printed'}
          </button>
        )}
      </div>
      {open && (
        <div className={classes.printed}>
          <Code text={details.trimEnd()} language="ansi" look="terminal" />
        </div>
      )}
    </Frame>
  )
}

function HumanRow({ row: { required, end }, moment, working }: RowProps<'human'>) {
  const response = end !== null && end.seq <= moment ? end : null
  return (
    <Frame
      records={response === null ? [required] : [required, response]}
      icon={<IconHandStop size={15} stroke={1.9} />}
      tone="human"
    >
      <div className={classes.human} data-open={response === null && working}>
        <b>A person was asked</b>
        <p className={classes.reason}>{visible(required.payload.summary)}</p>
        {response === null ? (
          <p className={classes.quiet}>
            {working ? 'No answer yet.' : 'The run ended without an answer.'}
          </p>
        ) : (
          <div className={classes.answer}>
            <span>
              <b>{response.payload.decision === 'approve' ? 'Approved' : 'Aborted'}</b>
              <By record={response} />
            </span>
            <span className={classes.quiet}>after {formatDuration(response.ts - required.ts)}</span>
            {response.payload.seen !== undefined && (
              <span className={classes.quiet}>
                with record {response.payload.seen.seq} on the screen
              </span>
            )}
            {response.payload.reason !== null && <q>{visible(response.payload.reason)}</q>}
          </div>
        )}
      </div>
    </Frame>
  )
}

function ClosedRow({ row: { record } }: RowProps<'closed'>) {
  const { iteration, tokens, cost_usd } = record.payload
  return (
    <Frame records={[record]}>
      <div className={classes.facts}>
        <span>Iteration {iteration} complete</span>
        <span>{counted(tokens, 'token')}</span>
        {cost_usd !== null && <span>{formatCost(cost_usd)}</span>}
      </div>
    </Frame>
  )
}
