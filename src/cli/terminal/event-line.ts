import {
  type AgentEvent,
  DOCUMENTED_KINDS,
  type Kind,
  type RunDetails,
} from '../../client/index.ts'
import { changesOf } from '../../domain/mcp-tools.ts'
import type { PayloadOf } from '../../domain/records.ts'
import { counted } from '../../lib/counted.ts'
import { type Line, oneLine, shorten } from './plain-text.ts'

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

/** What happened, in a line of plain words, by the kind of the record. */
const GISTS: { readonly [K in Kind]: (payload: PayloadOf<K>) => string } = {
  run_created: ({ config, parent, reason }) => {
    const by = parent === undefined ? '' : `, for the run ${parent.run_id}`
    return `${oneLine(`${config.goal} in ${config.cwd}, by ${config.model_name}`)}${by}${because(reason)}`
  },
  run_claimed: ({ pid, host, after_crash, after }) => {
    const why = after_crash === true ? ', after a crash of the previous process' : ''
    const silent = after === undefined ? '' : ': the previous process was silent for too long'
    return `process ${pid} on ${oneLine(host)} works on the run${why}${silent}`
  },
  run_config_changed: ({ changes, reason }) => {
    const now = Object.entries(changes).map(([name, value]) => `${name} is now ${wordOf(value)}`)
    return `${shorten(now.join(', '), 200)}${because(reason)}`
  },
  project_context: ({ documents, files, git, programs, ignored_keys: ignored = [] }) => {
    const known = { files, 'the state of git': git, 'installed programs': programs }
    const read = Object.entries(known).flatMap(([name, text]) => (text === null ? [] : [name]))
    const note = ignored.length === 0 ? '' : `; no effect in .retrai.yml: ${ignored.join(', ')}`
    const shown = [...documents.map(({ path }) => path), ...read].join(', ') || 'nothing'
    return `the agent was shown ${shorten(shown, 200)}${shorten(oneLine(note), 200)}`
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
  network_connection: (payload) => {
    const { host, port, allowed, reason, bytes_in, bytes_out, connections } = payload
    const to = host === '*' ? 'all hosts' : `${oneLine(host)}:${port}`
    const times = connections === undefined ? '' : `, ${counted(connections, 'connection')}`
    if (!allowed) return `${to} refused${times}${because(reason)}`
    const isKnown = bytes_in !== null && bytes_out !== null
    const sum = isKnown ? `, ${counted(bytes_out, 'byte')} sent, ${bytes_in} received` : ''
    return `${to} reached${times}${sum}${because(reason)}`
  },
  guard_changed: ({ path, sha256 }) => {
    const how = sha256 === null ? 'is gone, or is not a file' : 'appeared or changed'
    return `${oneLine(path)} ${how} while a command ran`
  },
  goal_check: (check) => `${verdictOf(check)}: ${oneLine(check.reason)}`,
  human_check_required: ({ summary }) => oneLine(summary),
  human_check_response: ({ decision, reason }) => `${decision}${because(reason)}`,
  approval_required: ({ tool, rule, content }) =>
    `${oneLine(tool)} waits, by rule ${rule.index + 1} of the ${rule.of}${because(content.reason)}`,
  approval_response: ({ decision, reason, lifts_rule }) => {
    const rest = lifts_rule === true ? ', and the rule no longer asks' : ''
    return `${decision}${rest}${because(reason)}`
  },
  iteration_complete: ({ tokens, cost_usd }) =>
    `${counted(tokens, 'token')}${cost_usd === null ? '' : `, $${cost_usd.toFixed(4)}`}`,
  run_queued: ({ reason }) => oneLine(reason),
  run_ending: ({ reason }) => oneLine(reason),
  run_end: ({ status, reason }) => `${status}: ${oneLine(reason)}`,
  run_summary: ({ text }) => oneLine(text),
  context_compacted: ({ turns, outputs_only, tokens_before, tokens_after }) =>
    `${counted(turns, 'turn')} ${outputs_only ? 'without outputs' : 'summarized'}: ${counted(tokens_before, 'token')} before, ${tokens_after} after`,
  mcp_tools_listed: ({ server, tools, problem, changes }) => {
    if (problem !== undefined) return `${oneLine(server)} cannot be used: ${shorten(problem, 200)}`
    const what = `${oneLine(server)}: ${counted(tools.length, 'tool')}`
    return changes === undefined ? what : `${what}; ${shorten(changesOf(changes), 200)}`
  },
  agent_stuck: ({ action, message }) => `${action}: ${shorten(message, 200)}`,
  subagent_started: ({ run_id, config }) => `${run_id} ${oneLine(config.goal)}`,
  user_message: ({ text }) => shorten(text, 200),
  error: ({ message }) => shorten(message, 200),
}

const gist = <K extends Kind>(kind: K, payload: PayloadOf<K>): string => GISTS[kind](payload)

/** A value of a configuration, in words. */
function wordOf(value: unknown): string {
  if (value === null) return 'the default'
  return Array.isArray(value) ? value.join(', ') || 'none' : String(value)
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

/** What a run waits for that is away, and since when. */
export const waitText = ({ what, since }: NonNullable<RunDetails['waiting_for']>): string =>
  `its model, since ${since}: ${shorten(what, 200)}`

/** One line for people: seq, iteration, kind, and what happened. */
export function eventLine(event: AgentEvent, more = ''): Exclude<Line, string> {
  const seq = String(event.seq).padStart(4)
  const kind = event.kind.padEnd(18)
  const text = `${gist(event.kind, event.payload)}${more}`
  return [
    `${seq}  it ${event.iteration}  `,
    { text: kind, style: 'cyan' },
    ' ',
    BOLD.has(event.kind) ? { text, style: 'bold' } : text,
  ]
}
