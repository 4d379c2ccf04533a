import { Tooltip } from '@mantine/core'
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import type { RunStatus } from '../../../src/api/records.ts'
import { modelWait, type RunState, statusOf } from '../../../src/domain/state.ts'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import { SubagentLine } from '../timeline/subagent-line.tsx'
import { CopyButton } from '../ui/copy-button.tsx'
import { visible } from '../ui/foreign-text.ts'
import {
  baseName,
  counted,
  formatClock,
  formatCost,
  formatCount,
  formatMoment,
  shortId,
} from '../ui/format.ts'
import { inWords } from '../ui/reason.ts'
import { StatusPill } from '../ui/status-pill.tsx'
import { useNow } from '../ui/use-now.ts'
import { ConnectionBadge } from './connection-badge.tsx'
import { Origins } from './origins.tsx'
import { RunActions } from './run-actions.tsx'
import classes from './run-header.module.css'

type Props = {
  readonly runId: string
  readonly view: RunView
  /** As of the record that is shown. */
  readonly state: RunState | null
  readonly moment: number
  readonly following: boolean
  readonly connection: Connection
  /** seq of the last record that the server has. */
  readonly head: number | null
  /** How the run has ended, if that is known before all its records have arrived. */
  readonly ended: RunStatus | null
}

export function RunHeader(props: Props) {
  const { runId, view, state, moment, following, connection, head, ended } = props
  const shown = following ? ended : null
  return (
    <div className={classes.header}>
      <div className={classes.top}>
        <h1 className={classes.title}>
          {state === null ? (
            'Run'
          ) : (
            <>
              {visible(state.title ?? state.config.goal)}{' '}
              <span className={classes.where}>in {baseName(state.config.cwd)}</span>
            </>
          )}
        </h1>
        {state !== null && (
          <StatusPill status={shown ?? statusOf(state)} doubt={doubtIn(state)} size="lg" />
        )}
        <ConnectionBadge connection={connection} received={view.records.length - 1} head={head} />
        {view.state !== null && (ended === null || view.state.phase.type === 'ended') && (
          <RunActions runId={runId} view={view} state={view.state} />
        )}
      </div>
      <p className={classes.about}>
        {state?.title !== undefined && <span>{state.config.goal}</span>}
        <span className={classes.model} title={state?.config.model_name}>
          {state?.config.model_name}
        </span>
        <Tooltip label={visible(state?.config.cwd ?? '')}>
          <span className={classes.path}>{visible(state?.config.cwd ?? '')}</span>
        </Tooltip>
        {state?.parent !== undefined && (
          <span>
            sub-agent of{' '}
            <Link href={`/runs/${state.parent.run_id}`}>{shortId(state.parent.run_id)}</Link>
          </span>
        )}
        <Origins runId={runId} origin={state?.origin} />
        <CopyButton value={runId}>
          {({ copied, copy }) => (
            <button
              type="button"
              className={classes.id}
              title="Copy the id of the run"
              onClick={copy}
            >
              {copied ? 'copied' : shortId(runId)}
            </button>
          )}
        </CopyButton>
      </p>
      {state === null ? (
        <div className={classes.facts} />
      ) : (
        <Facts view={view} state={state} moment={moment} live={following && ended === null} />
      )}
    </div>
  )
}

/** What speaks against the goal of a run that has reached it. */
const doubtIn = ({ phase }: RunState): string | undefined =>
  phase.type === 'ended' ? phase.against : undefined

/** The sub-agents at work at this moment. */
const atWork = ({ subagents = [], phase }: RunState) =>
  phase.type === 'ended' ? [] : subagents.filter(({ end }) => end === null)

type SubagentsProps = Pick<Props, 'view' | 'state'>

/** What the sub-agents that are at work do, in a line for each. */
export function SubagentsAtWork({ view, state }: SubagentsProps) {
  const open = state === null ? [] : atWork(state)
  if (open.length === 0) return null
  return (
    <ul className={classes.subagents} aria-label="Sub-agents at work">
      {open.map(({ run_id, seq }) => {
        const started = view.records[seq]
        const goal = started?.kind === 'subagent_started' ? started.payload.config.goal : ''
        return (
          <li key={run_id}>
            <SubagentLine runId={run_id} goal={goal} brief />
          </li>
        )
      })}
    </ul>
  )
}

type FactsProps = Pick<Props, 'view' | 'moment'> & {
  readonly state: RunState
  readonly live: boolean
}

function Facts({ view, state, moment, live }: FactsProps) {
  const ticking = live && state.endedAt === null
  const now = useNow(ticking ? 500 : null) / 1000
  const until = state.endedAt ?? (ticking ? now : (view.records[moment]?.ts ?? state.createdAt))
  const { iteration, config, total } = state
  return (
    <dl className={classes.facts}>
      <Fact name="Iteration">
        {formatCount(iteration)}
        <span className={classes.of}> of {formatCount(config.max_iterations)}</span>
      </Fact>
      <Fact name="Tokens" limit={config.max_tokens} format={formatCount}>
        {formatCount(total.tokens)}
      </Fact>
      <Fact name="Cost" limit={config.max_cost_usd} format={formatCost}>
        {formatCost(total.costUsd)}
      </Fact>
      <Fact name="Time">{formatClock(until - state.createdAt)}</Fact>
      <Fact name="Record">{formatCount(state.seq)}</Fact>
      <Fact name={nameOf(state)} wide>
        {visible(doing(state, until))}
      </Fact>
    </dl>
  )
}

type FactProps = {
  readonly name: string
  readonly limit?: number | null
  readonly format?: (limit: number) => string
  readonly wide?: boolean
  readonly children: ReactNode
}

function Fact({ name, limit = null, format, wide = false, children }: FactProps) {
  return (
    <div className={classes.fact} data-wide={wide} data-fact={name}>
      <dt>{name}</dt>
      <dd title={wide && typeof children === 'string' ? children : undefined}>
        {children}
        {limit !== null && <span className={classes.of}> of {format?.(limit)}</span>}
      </dd>
    </div>
  )
}

/** The name of the last fact: what is being done, or how the run ended. */
function nameOf(state: RunState): string {
  const { phase, queued } = state
  const wait = modelWait(state)
  if (queued !== null) return 'Why it is queued'
  if (wait !== null) return `Waits for its model since ${formatMoment(wait.since)}`
  if (phase.type === 'paused') return 'Why it is paused'
  if (phase.type !== 'ended') return 'Now'
  return phase.status === 'achieved'
    ? 'Goal'
    : `Why it ${phase.status === 'failed' ? 'failed' : 'was aborted'}`
}

/** What the run does at a moment, in words. @param at seconds since the epoch */
function doing(state: RunState, at: number): string {
  const { phase, claimant, queued } = state
  const wait = modelWait(state)
  const open = atWork(state).length
  if (open > 0) return `Waiting for ${open === 1 ? 'a sub-agent' : `${open} sub-agents`}`
  if (queued !== null) return queued
  switch (phase.type) {
    case 'ready':
      return claimant === null ? 'Waiting for a server' : 'Starting an iteration'
    case 'planning':
      if (wait !== null) {
        const next = at < wait.nextTry ? 'next try' : 'tried again'
        return `${wait.what} (${next} at ${formatMoment(wait.nextTry)})`
      }
      return phase.failures === 0
        ? 'Asking the model'
        : `Asking the model again, after ${counted(phase.failures, 'failed call')}`
    case 'replied':
      return 'Reading the reply'
    case 'acting':
      return phase.open === null ? 'Working' : `Running ${phase.open.tool}`
    case 'evaluating':
      return 'Checking the goal'
    case 'awaiting_human':
    case 'awaiting_approval':
    case 'consulting':
      return 'Waiting for a person'
    case 'paused':
      return inWords(phase.reason)
    case 'checked':
    case 'iterated':
      return 'Ending the iteration'
    case 'aborting':
      return 'Stopping'
    case 'ending':
      return `Writing a summary: ${inWords(phase.reason)}`
    case 'erred':
      return `Failing: ${phase.message}`
    case 'ended':
      return [inWords(phase.reason), phase.against]
        .filter((words) => words !== undefined)
        .join('; but ')
  }
}
