import { type AgentEvent, DOCUMENTED_KINDS, type Kind } from '../../client/index.ts'
import { changesOf } from '../../domain/mcp-tools.ts'
import { type Line, oneLine, shorten } from './plain-text.ts'

/** What people see beside the ten common kinds if they choose none: what is said, and which runs are started. */
const SAID = ['assistant_message', 'user_message', 'subagent_started'] as const

/** The kinds to ask for, and which of their events are shown. */
export function shownKinds(chosen: readonly Kind[] | undefined, json: boolean) {
  const kinds: readonly Kind[] =
    chosen ?? (json ? DOCUMENTED_KINDS : [...DOCUMENTED_KINDS, ...SAID])
  const shown: ReadonlySet<string> = new Set(kinds)
  // A reply that only calls tools is seen by its calls.
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

function gist(event: AgentEvent): string {
  switch (event.kind) {
    case 'step_start':
      return event.payload.node
    case 'assistant_message': {
      const { text, tool_calls } = event.payload
      const calls = tool_calls.map(({ tool }) => oneLine(tool)).join(', ')
      return wordsOf(text) === '' ? `calls ${calls || 'nothing'}` : shorten(text, 400)
    }
    case 'tool_call':
      return `${oneLine(event.payload.tool)} ${shorten(event.payload.args, 70)}`
    case 'tool_result': {
      const { tool, exit_code, outcome, output, killed_by } = event.payload
      const end = exit_code === null ? outcome : `exit ${exit_code}`
      const how = killed_by === undefined ? end : `${end}, ended by ${killed_by}`
      return `${oneLine(tool)} ${how}: ${shorten(output, 60)}`
    }
    case 'llm_usage':
      return `${event.payload.input_tokens} tokens in, ${event.payload.output_tokens} out`
    case 'goal_check':
      return `${verdictOf(event.payload)}: ${oneLine(event.payload.reason)}`
    case 'human_check_required':
      return oneLine(event.payload.summary)
    case 'human_check_response': {
      const { decision, reason } = event.payload
      return reason === null ? decision : `${decision}: ${oneLine(reason)}`
    }
    case 'approval_required': {
      const { tool, rule, content } = event.payload
      const why = content.reason === undefined ? '' : `: ${oneLine(content.reason)}`
      return `${oneLine(tool)} waits, by rule ${rule.index + 1} of the ${rule.of}${why}`
    }
    case 'approval_response': {
      const { decision, reason, lifts_rule } = event.payload
      const rest = lifts_rule === true ? ', and the rule asks no more' : ''
      return `${decision}${rest}${reason === null ? '' : `: ${oneLine(reason)}`}`
    }
    case 'iteration_complete': {
      const { tokens, cost_usd } = event.payload
      return `${tokens} tokens${cost_usd === null ? '' : `, $${cost_usd.toFixed(4)}`}`
    }
    case 'run_queued':
      return oneLine(event.payload.reason)
    case 'run_end':
      return `${event.payload.status}: ${oneLine(event.payload.reason)}`
    case 'run_summary':
      return oneLine(event.payload.text)
    case 'context_compacted': {
      const { turns, tokens_before, tokens_after } = event.payload
      return `${turns} turns left out: ${tokens_before} tokens before, ${tokens_after} after`
    }
    case 'mcp_tools_listed': {
      const { server, tools, problem, changes } = event.payload
      if (problem !== undefined)
        return `${oneLine(server)} cannot be used: ${shorten(problem, 200)}`
      const what = `${oneLine(server)}: ${tools.length} tools`
      return changes === undefined ? what : `${what}; ${shorten(changesOf(changes), 200)}`
    }
    case 'agent_stuck':
      return `${event.payload.action}: ${shorten(event.payload.message, 200)}`
    case 'subagent_started':
      return `${event.payload.run_id} ${oneLine(event.payload.config.goal)}`
    case 'user_message':
      return shorten(event.payload.text, 200)
    case 'error':
      return shorten(event.payload.message, 200)
    default:
      return shorten(event.payload, 90)
  }
}

const BOLD: ReadonlySet<string> = new Set([
  'goal_check',
  'human_check_required',
  'approval_required',
  'run_queued',
  'agent_stuck',
  'mcp_tools_listed',
  'run_summary',
  'error',
  'run_end',
])

/** One line for people: seq, iteration, kind, and what happened. */
export function eventLine(event: AgentEvent): Exclude<Line, string> {
  const seq = String(event.seq).padStart(4)
  const kind = event.kind.padEnd(18)
  const text = gist(event)
  return [
    `${seq}  it ${event.iteration}  `,
    { text: kind, style: 'cyan' },
    ' ',
    BOLD.has(event.kind) ? { text, style: 'bold' } : text,
  ]
}
