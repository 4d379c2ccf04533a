import { fold } from '../../src/domain/evolve.ts'
import type { RunRecord } from '../../src/domain/records.ts'

/** run_end names the tokens, the cost and the iterations of the records before it. */
export function sums(records: readonly RunRecord[]): string[] {
  let tokens = 0
  let cost: number | null = 0
  let iteration = 0
  for (const record of records) {
    iteration = Math.max(iteration, record.iteration)
    if (record.kind === 'llm_usage') {
      tokens += record.payload.input_tokens + record.payload.output_tokens
      const { cost_usd } = record.payload
      cost = cost === null || cost_usd === null ? null : cost + cost_usd
    }
    if (record.kind === 'tool_result' && record.payload.subagent !== undefined) {
      const { subagent } = record.payload
      tokens += subagent.tokens
      cost = cost === null || subagent.cost_usd === null ? null : cost + subagent.cost_usd
    }
    if (record.kind !== 'run_end') continue
    const { total_tokens, estimated_cost_usd, iterations: counted } = record.payload
    const named = JSON.stringify([total_tokens, rounded(estimated_cost_usd), counted])
    const truth = JSON.stringify([tokens, rounded(cost), iteration])
    if (named !== truth) return [`run_end names ${named}, the log ${truth}`]
  }
  return []
}

/** Costs are sums of binary fractions, so the order of the addition matters. */
const rounded = (cost: number | null) => (cost === null ? null : Number(cost.toFixed(9)))

/** No process claims a run that it holds, and no process works on a run that it has not claimed. */
export function claims(records: readonly RunRecord[]): string[] {
  let holder: string | null = null
  const problems: string[] = []
  for (const [seq, record] of records.entries()) {
    if (record.kind === 'step_start' && holder === null)
      problems.push(`${seq} works without a claim`)
    if (record.kind !== 'run_claimed') continue
    const { claimant } = record.payload
    if (holder === claimant) problems.push(`${seq} is a second claim of ${claimant}`)
    holder = claimant
  }
  return problems
}

/** Iterations count up by one, and each is within the limit of its time. So are the turns of each. */
export function iterations(records: readonly RunRecord[]): string[] {
  let limit = 0
  let turnLimit = 1
  let turns = 0
  let iteration = 0
  const problems: string[] = []
  for (const [seq, record] of records.entries()) {
    if (record.kind === 'run_created') {
      limit = record.payload.config.max_iterations
      turnLimit = record.payload.config.max_turns_per_iteration ?? 1
    }
    if (record.kind === 'run_config_changed') limit = record.payload.changes.max_iterations ?? limit
    const plans = record.kind === 'step_start' && record.payload.node === 'plan'
    const begins = plans && record.iteration !== iteration
    if (begins) iteration += 1
    turns = begins ? 1 : turns + Number(plans)
    if (turns > turnLimit) problems.push(`${seq} begins turn ${turns} of ${turnLimit}`)
    if (record.iteration !== iteration) {
      problems.push(`${seq} is of iteration ${record.iteration} within ${iteration}`)
    }
    if (begins && iteration > limit)
      problems.push(`${seq} begins iteration ${iteration} of ${limit}`)
  }
  return problems
}

/** A run continues only after the answer, which names its human check or its last pause. An abort ends the run at once. */
export function humanChecks(records: readonly RunRecord[]): string[] {
  let open: number | null = null
  const problems: string[] = []
  for (const [seq, record] of records.entries()) {
    if (open !== null && ['step_start', 'tool_call', 'llm_usage'].includes(record.kind)) {
      problems.push(`${seq} comes although ${open} is not answered`)
    }
    if (record.kind === 'human_check_required' || record.kind === 'run_paused') open = seq
    if (record.kind !== 'human_check_response' && record.kind !== 'run_resumed') continue
    const { answers } = record.payload
    if (answers !== open) problems.push(`${seq} answers ${answers}, open is ${open}`)
    open = null
    if (record.kind === 'run_resumed') continue
    const { decision } = record.payload
    const next = records[seq + 1]
    const ends = next?.kind === 'run_end' && next.payload.status === 'aborted'
    if (decision === 'abort' && !ends) problems.push(`${seq} aborts, and the run continues`)
  }
  return problems
}

/**
 * A message that is sent again with its key is not recorded again. The model reads each before the run is done, unless
 * a limit leaves no room for another reply.
 */
export function messages(records: readonly RunRecord[]): string[] {
  const keys = new Set<string>()
  const problems: string[] = []
  let sent = 0
  let read = 0
  for (const [seq, record] of records.entries()) {
    if (record.kind === 'assistant_message') read = record.payload.user_messages ?? read
    const ends = record.kind === 'run_end' && record.payload.achieved
    if (ends && read < sent && hasRoom(records.slice(0, seq), record.ts)) {
      problems.push(`${seq} ends the run, and ${sent - read} messages are not read`)
    }
    if (record.kind !== 'user_message') continue
    sent += 1
    const key = record.payload.idempotency?.key ?? `seq ${seq}`
    if (keys.has(key)) problems.push(`${seq} is a second record of the message ${key}`)
    keys.add(key)
  }
  return problems
}

/** Whether no limit of the run forbids another reply at this time. */
function hasRoom(records: readonly RunRecord[], ts: number): boolean {
  const state = fold(records)
  if (state === null) return true
  const { max_iterations, max_tokens, max_cost_usd, max_seconds } = state.config
  const { tokens, costUsd } = state.total
  const seconds = ts - state.createdAt - state.waitedSeconds
  const isBelow = (used: number | null, limit: number | null) =>
    limit === null || (used !== null && used < limit)
  return (
    state.iteration < max_iterations &&
    isBelow(tokens, max_tokens) &&
    isBelow(costUsd, max_cost_usd) &&
    isBelow(seconds, max_seconds)
  )
}
