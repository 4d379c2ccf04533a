import { type AgentEvent, DOCUMENTED_KINDS, type Kind } from '../../client/index.ts'
import { changesOf } from '../../domain/mcp-tools.ts'
import { counted } from '../../lib/counted.ts'
import { type Line, oneLine, shorten } from './plain-text.ts'

/** If people choose no kinds, they see the ten common ones and these: what is said, and which runs are started. */
const SAID = ['assistant_message', 'user_message', 'subagent_started'] as const

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

/** What happened, in a line of plain words. */
function gist(event: AgentEvent): string {
  switch (event.kind) {
    case 'run_created': {
      const { config, parent, reason } = event.payload
      const by = parent === undefined ? '' : `, for the run ${parent.run_id}`
      return `${oneLine(`${config.goal} in ${config.cwd}, by ${config.model_name}`)}${by}${because(reason)}`
    }
    case 'run_claimed': {
      const { pid, host, after_crash } = event.payload
      const why = after_crash === true ? ', after a crash of the previous process' : ''
      return `process ${pid} on ${oneLine(host)} works on the run${why}`
    }
    case 'run_config_changed': {
      const { changes, reason } = event.payload
      const now = Object.entries(changes).map(([name, value]) => `${name} is now ${wordOf(value)}`)
      return `${shorten(now.join(', '), 200)}${because(reason)}`
    }
    case 'project_context': {
      const { documents, files, git, programs, ignored_keys: ignored = [] } = event.payload
      const known = { files, 'the state of git': git, 'installed programs': programs }
      const read = Object.entries(known).flatMap(([name, text]) => (text === null ? [] : [name]))
      const note = ignored.length === 0 ? '' : `; no effect in .retrai.yml: ${ignored.join(', ')}`
      const shown = [...documents.map(({ path }) => path), ...read].join(', ') || 'nothing'
      return `the agent was shown ${shorten(shown, 200)}${shorten(oneLine(note), 200)}`
    }
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
    case 'llm_usage': {
      const { input_tokens, output_tokens, purpose } = event.payload
      const what = purpose === undefined ? '' : `, for a ${purpose}`
      return `${counted(input_tokens, 'token')} in, ${output_tokens} out${what}`
    }
    case 'llm_retry': {
      const { attempt, reason, delay_ms, fallback } = event.payload
      const next =
        fallback === undefined
          ? `the next one begins in ${(delay_ms / 1000).toFixed(1)} s`
          : `the run continues with ${oneLine(fallback.to)}`
      return `attempt ${attempt} failed, ${next}: ${shorten(reason, 200)}`
    }
    case 'network_connection':
      return connectionText(event.payload)
    case 'guard_changed': {
      const { path, sha256 } = event.payload
      const how = sha256 === null ? 'is gone, or is not a file' : 'appeared or changed'
      return `${oneLine(path)} ${how} while a command ran`
    }
    case 'goal_check':
      return `${verdictOf(event.payload)}: ${oneLine(event.payload.reason)}`
    case 'human_check_required':
      return oneLine(event.payload.summary)
    case 'human_check_response':
      return `${event.payload.decision}${because(event.payload.reason)}`
    case 'approval_required': {
      const { tool, rule, content } = event.payload
      return `${oneLine(tool)} waits, by rule ${rule.index + 1} of the ${rule.of}${because(content.reason)}`
    }
    case 'approval_response': {
      const { decision, reason, lifts_rule } = event.payload
      const rest = lifts_rule === true ? ', and the rule no longer asks' : ''
      return `${decision}${rest}${because(reason)}`
    }
    case 'iteration_complete': {
      const { tokens, cost_usd } = event.payload
      return `${counted(tokens, 'token')}${cost_usd === null ? '' : `, $${cost_usd.toFixed(4)}`}`
    }
    case 'run_queued':
    case 'run_ending':
      return oneLine(event.payload.reason)
    case 'run_end':
      return `${event.payload.status}: ${oneLine(event.payload.reason)}`
    case 'run_summary':
      return oneLine(event.payload.text)
    case 'context_compacted': {
      const { turns, tokens_before, tokens_after } = event.payload
      return `${counted(turns, 'turn')} summarized: ${tokens_before} tokens before, ${tokens_after} after`
    }
    case 'mcp_tools_listed': {
      const { server, tools, problem, changes } = event.payload
      if (problem !== undefined)
        return `${oneLine(server)} cannot be used: ${shorten(problem, 200)}`
      const what = `${oneLine(server)}: ${counted(tools.length, 'tool')}`
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
  }
}

/** A value of a configuration, in words. */
function wordOf(value: unknown): string {
  if (value === null) return 'the default'
  return Array.isArray(value) ? value.join(', ') || 'none' : String(value)
}

function connectionText(payload: AgentEvent<'network_connection'>['payload']): string {
  const { host, port, allowed, reason, bytes_in, bytes_out, connections } = payload
  const to = host === '*' ? 'all hosts' : `${oneLine(host)}:${port}`
  const times = connections === undefined ? '' : `, ${counted(connections, 'connection')}`
  if (!allowed) return `${to} refused${times}${because(reason)}`
  const sum =
    bytes_in === null || bytes_out === null ? '' : `, ${bytes_out} bytes sent, ${bytes_in} received`
  return `${to} reached${times}${sum}${because(reason)}`
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
