import { nameOfRule } from '../api/records.ts'
import { changesOfCheck } from '../domain/file-changes.ts'
import { LIMITS } from '../domain/pause.ts'
import { oneLine, shorten } from '../domain/plain-text.ts'
import type { Kind, PayloadOf } from '../domain/records.ts'
import { doubtOf } from '../domain/verdict.ts'
import { counted } from '../lib/text.ts'

/** The words of a model without the space around them; '' without any. */
export const wordsOf = (text: string | null): string => (text ?? '').trim()

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
    `${oneLine(tool)} waits. ${nameOfRule(rule)} asks${because(content.reason)}`,
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
