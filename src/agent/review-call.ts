import { type CallFacts, judge, type Verdict } from '../domain/approvals/rules.ts'
import type { RequestedCall } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'
import type { Toolbox } from './tools/tool.ts'

const ALLOWED: Verdict = { action: 'allow', rule: null, doubt: null }

/**
 * Compares the rules of a run with a call.
 * @param call as the model wrote it; null if only its masked form is known, so that it cannot run
 */
export async function reviewCall(
  call: RequestedCall | null,
  { approvals, config, runId, total }: RunState,
  toolbox: Pick<Toolbox, 'facts'>,
): Promise<Verdict> {
  if (approvals === undefined || call === null) return ALLOWED
  const facts = await toolbox.facts(call, { cwd: config.cwd, runId })
  if (facts === null) return ALLOWED
  const { approvedCostUsd } = approvals
  const known = total.costUsd !== null && approvedCostUsd !== null
  const costUsd: CallFacts['costUsd'] = known ? total.costUsd - approvedCostUsd : null
  return judge({ ...facts, costUsd }, approvals)
}
