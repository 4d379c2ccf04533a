import type { AgentEvent, RunDetails } from '../../client/index.ts'
import { nameOfRule } from '../../domain/approvals/rules.ts'
import { isLimit, type PausedBy } from '../../domain/pause.ts'
import type { Connection } from '../connection.ts'
import { linesOf, oneLine, visibleJson } from './plain-text.ts'

type Hint = Connection['hint']

/** How a person continues a run that waits since this record; nothing for other records. */
export function waitingHints(event: AgentEvent, hint: Hint): string[] {
  const { run_id } = event
  switch (event.kind) {
    case 'human_check_required':
      return [
        `The run waits for a person: ${hint('approve', run_id)}, or`,
        `                            ${hint('abort', run_id)}`,
      ]
    case 'approval_required':
      return [`A call waits for a person. To see it, and how to answer: ${hint('show', run_id)}`]
    case 'run_paused':
      return pauseHints(hint, run_id, event.payload.by)
    default:
      return []
  }
}

/** How a paused run continues. */
export function pauseHints(hint: Hint, runId: string, by: PausedBy): string[] {
  const resume = isLimit(by) ? hint('configure', runId, '--set', `${by}=N`) : hint('approve', runId)
  return [`The run is paused: ${resume}, or`, `                   ${hint('abort', runId)}`]
}

type WaitingCall = NonNullable<NonNullable<RunDetails['progress']['waiting_for']>['approval']>

/** How many digits of the hash of a call are shown for a person to paste. */
const SHOWN_DIGITS = 16

export const shownHash = ({ call_sha256 }: WaitingCall): string =>
  call_sha256.slice(0, SHOWN_DIGITS)

/** The call that a person decides about: all arguments, each line after a bar, so that none looks like one of ours. */
export function callLines(waiting: WaitingCall): string[] {
  const { call, content, rule, doubt } = waiting
  const { reason, by } = content
  return linesOf(
    `The agent wants to call ${oneLine(call.tool)} (${shownHash(waiting)}…):`,
    call.raw_args === undefined
      ? Object.entries(call.args).map(([name, value]) => argLines(name, value))
      : barred('  ', call.raw_args),
    `${nameOfRule(rule)} asks first${reason === undefined ? '' : `: ${oneLine(reason)}`}`,
    doubt !== null &&
      `The rule applies because the call cannot be judged with certainty: ${oneLine(doubt)}`,
    by === 'other_than_starter' &&
      'Somebody other than the person who started the run must answer.',
  )
}

const SIGNS: Readonly<Record<string, string>> = { old: '-', new: '+' }

function argLines(name: string, value: unknown): string[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2)
  return [`  ${oneLine(name)}:`, ...barred(`  ${SIGNS[name] ?? ''}`, text)]
}

const barred = (indent: string, text: string): string[] =>
  text.split('\n').map((line) => `${indent}| ${visibleJson(line)}`)
