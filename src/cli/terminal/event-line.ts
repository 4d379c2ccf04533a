import type { AgentEvent, RunDetails } from '../../client/index.ts'
import { changesOfCheck } from '../../domain/file-changes.ts'
import { LIMITS } from '../../domain/pause.ts'
import { DOCUMENTED_KINDS, type Kind, type PayloadOf } from '../../domain/records.ts'
import { doubtOf } from '../../domain/verdict.ts'
import { counted } from '../../lib/text.ts'
import { type Line, oneLine, outcome, shorten } from './plain-text.ts'

/** If people choose no kinds, they see the ten common ones and these: what is said, which runs are started, and why a run waits. */
const SAID = ['assistant_message', 'user_message', 'subagent_started', 'llm_retry'] as const

/** The kinds to ask for, and which of their events are shown. */
export function shownKinds(chosen: readonly Kind[] | undefined, json: boolean) {
  const kinds: readonly Kind[] =
    chosen ?? (json ? DOCUMENTED_KINDS : [...DOCUMENTED_KINDS, ...SAID])
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

const wordsOf = (text: string | null): string => (text ?? '').trim()

function verdictOf({ achieved, verdict }: { achieved: boolean; verdict?: string }): string {
  if (verdict === 'cannot_check') return 'cannot be checked'
  return achieved ? 'reached' : 'not reached'
}

/** The reason as the end of a sentence; '' without a reason. */
const because = (reason: string | null | undefined): string =>
  reason == null || reason === '' ? '' : `: ${oneLine(reason)}`

/** What happened, in a line of plain words, by the kind of the record. Of other kinds, the fields are shown. */
const GISTS: { readonly [K in Kind]?: (payload: PayloadOf<K>) => string } = {
  run_created: ({ config, parent, reason }) => {
    const by = parent === undefined ? '' : `, for the run ${parent.run_id}`
    return `${oneLine(`${config.goal} in ${config.cwd}, by ${config.model_name}`)}${by}${because(reason)}`
  },
  run_config_changed: ({ changes, reason }) => {
    const now = Object.entries(changes).map(
      ([name, value]) =>
        `${name} is now ${wordOf(
          value,
          LIMITS.some((limit) => limit === name),
        )}`,
    )
    return `${shorten(now.join(', '), 200)}${because(reason)}`
  },
  step_start: ({ node }) => node,
  assistant_message: ({ text, tool_calls }) => {
    const calls = tool_calls.map(({ tool }) => oneLine(tool)).join(', ')
    return wordsOf(text) === '' ? `calls ${calls || 'nothing'}` : shorten(text, 400)
  },
  tool_call: ({ tool, args }) => `${oneLine(tool)} ${shorten(args, 70)}`,
  tool_result: ({ tool, exit_code, outcome, output, killed_by }) => {
    const end = exit_code === null ? outcome : `exit ${exit_code}`
    const how = killed_by === undefined ? end : `${end}, ended by ${killed_by}`
    return `${oneLine(tool)} ${how}: ${shorten(output, 60)}`
  },
  llm_usage: ({ input_tokens, output_tokens, purpose }) => {
    const what = purpose === undefined ? '' : `, for a ${purpose}`
    return `${counted(input_tokens, 'token')} in, ${output_tokens} out${what}`
  },
  llm_retry: ({ attempt, reason, delay_ms, fallback }) => {
    const next =
      fallback === undefined
        ? `the next one begins in ${(delay_ms / 1000).toFixed(1)} s`
        : `the run continues with ${oneLine(fallback.to)}`
    return `attempt ${attempt} failed, ${next}: ${shorten(reason, 200)}`
  },
  goal_check: (check) => {
    const changed = changesOfCheck(check).map((one) => `; ${shorten(one, 200)}`)
    return `${verdictOf(check)}: ${oneLine(check.reason)}${changed.join('')}`
  },
  final_check: ({ reason }) => oneLine(reason),
  human_check_required: ({ summary }) => oneLine(summary),
  human_check_response: ({ decision, reason }) => `${decision}${because(reason)}`,
  approval_required: ({ tool, rule, content }) =>
    `${oneLine(tool)} waits, by rule ${rule.index + 1} of the ${rule.of}${because(content.reason)}`,
  approval_response: ({ decision, reason, lifts_rule }) => {
    const rest = lifts_rule === true ? ', and the rule no longer asks' : ''
    return `${decision}${rest}${because(reason)}`
  },
  left_out_hashed: ({ entries }) =>
    `${counted('count' in entries ? entries.count : entries.length, 'path')} left out of snapshots`,
  iteration_complete: ({ tokens, cost_usd }) =>
    `${counted(tokens, 'token')}${cost_usd === null ? '' : `, $${cost_usd.toFixed(4)}`}`,
  run_paused: ({ reason }) => oneLine(reason),
  run_resumed: ({ reason }) => `the run continues${because(reason)}`,
  run_end: ({ status, reason, verdict }) => {
    const doubt = doubtOf(verdict)
    return `${status}: ${oneLine(reason)}${doubt === null ? '' : `. But ${oneLine(doubt)}`}`
  },
  run_summary: ({ text }) => oneLine(text),
  agent_stuck: ({ action, message }) => `${action}: ${shorten(message, 200)}`,
  subagent_started: ({ run_id, config }) => `${run_id} ${oneLine(config.goal)}`,
  user_message: ({ text }) => shorten(text, 200),
  error: ({ message }) => shorten(message, 200),
}

/** What a record says happened, in a line. */
export const gist = <K extends Kind>(kind: K, payload: PayloadOf<K>): string =>
  GISTS[kind]?.(payload) ?? fieldsOf(payload)

function fieldsOf(payload: object): string {
  const plain = Object.entries(payload).filter(([, value]) => typeof value !== 'object')
  return shorten(plain.map(([name, value]) => `${name} ${value}`).join(', '), 300)
}

/** A value of a configuration, in words. */
function wordOf(value: unknown, isLimit: boolean): string {
  if (value === null) return isLimit ? 'no limit' : 'the default'
  return Array.isArray(value) ? value.join(', ') || 'none' : String(value)
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

/** One line for people: seq, iteration, kind, and what happened. */
export function eventLine(event: AgentEvent): Line {
  const seq = String(event.seq).padStart(4)
  const kind = event.kind.padEnd(18)
  const text = gist(event.kind, event.payload)
  const status = statusOf(event)
  const plain = BOLD.has(event.kind) ? ({ text, style: 'bold' } as const) : text
  return [
    `${seq}  it ${event.iteration}  `,
    { text: kind, style: 'cyan' },
    ' ',
    status === null ? plain : outcome(status, text),
  ]
}
