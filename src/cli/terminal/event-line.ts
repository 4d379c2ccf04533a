import { gist, wordsOf } from '../../client/gist.ts'
import type { AgentEvent, RunDetails } from '../../client/index.ts'
import { oneLine, shorten } from '../../domain/plain-text.ts'
import { DOCUMENTED_KINDS, type Kind } from '../../domain/records.ts'
import { type Line, outcome } from './print.ts'

const DECIDED = [
  'approval_response',
  'run_resumed',
  'changes_applied',
  'files_rolled_back',
  'copy_discarded',
] as const

/** What people see in every watch: why a run waits, what they decided, and how it comes to its end. */
export const ALWAYS_SHOWN = [
  'run_queued',
  'agent_stuck',
  'run_summary',
  'approval_required',
  'run_paused',
  ...DECIDED,
] as const

/** What a person may have said or decided: then the line names the person. */
const OF_PEOPLE: ReadonlySet<Kind> = new Set([
  'user_message',
  'run_config_changed',
  'human_check_response',
  'run_end',
  ...DECIDED,
])

/** If people choose no kinds, they see the ten common ones, those above and these: what is said, and which runs are started. */
const SAID = ['assistant_message', 'subagent_started', 'llm_retry'] as const

/** The kinds to ask for, and which of their events are shown. */
export function shownKinds(chosen: readonly Kind[] | undefined, json: boolean) {
  const kinds: readonly Kind[] =
    chosen ??
    (json ? DOCUMENTED_KINDS : [...DOCUMENTED_KINDS, ...SAID, ...OF_PEOPLE, ...ALWAYS_SHOWN])
  const shown: ReadonlySet<string> = new Set(kinds)
  // A reply that only calls tools is shown by its calls.
  const isSilent = (event: AgentEvent) =>
    event.kind === 'assistant_message' && wordsOf(event.payload.text) === ''
  return {
    kinds,
    shows: (event: AgentEvent) =>
      shown.has(event.kind) && (chosen !== undefined || !isSilent(event)),
  }
}

const BOLD: ReadonlySet<string> = new Set([
  'goal_check',
  'final_check',
  'run_queued',
  'agent_stuck',
  'mcp_tools_listed',
  'run_summary',
])

/** The status of a run whose colour a record has; null if it has none. */
function statusOf({ kind, payload }: AgentEvent): string | null {
  switch (kind) {
    case 'run_end':
      return payload.status
    case 'goal_check':
      return payload.achieved ? 'achieved' : null
    case 'human_check_required':
    case 'approval_required':
      return 'awaiting_human'
    case 'run_paused':
      return 'paused'
    case 'error':
      return 'failed'
    default:
      return null
  }
}

/** What a run waits for that is away, and since when. */
export const waitText = ({ what, since }: NonNullable<RunDetails['waiting_for']>): string =>
  `its model, since ${since}: ${shorten(what, 200)}`

/** One line for people: seq, iteration, kind, and what happened; if a person did it, with the name of that person. */
export function eventLine(event: AgentEvent): Line {
  const seq = String(event.seq).padStart(4)
  const kind = event.kind.padEnd(18)
  const what = gist(event.kind, event.payload)
  const person = OF_PEOPLE.has(event.kind) ? event.meta?.principal : undefined
  const text = person === undefined ? what : `${oneLine(person)}: ${what}`
  const status = statusOf(event)
  const plain = BOLD.has(event.kind) ? ({ text, style: 'bold' } as const) : text
  return [
    `${seq}  it ${event.iteration}  `,
    { text: kind, style: 'cyan' },
    ' ',
    status === null ? plain : outcome(status, text),
  ]
}
