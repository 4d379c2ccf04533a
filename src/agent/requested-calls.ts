import { type CallFacts, judge, type Verdict } from '../domain/approvals/rules.ts'
import { masksIn } from '../domain/mask/finder.ts'
import { NETWORK_TOOL, type Network } from '../domain/network.ts'
import { present } from '../domain/present.ts'
import type { PayloadOf, RequestedCall, RunRecord } from '../domain/records.ts'
import type { OpenCall, RunState } from '../domain/state.ts'
import { processMask } from '../log/masking.ts'
import type { Workspace } from '../workspace/workspace.ts'
import type { Toolbox } from './tools/tool.ts'

/**
 * The calls of the last reply as the model wrote them. The log holds them with secrets masked, but they must run
 * unmasked. They are kept only in memory, so a process that takes a run over does not have them.
 */
export class RequestedCalls {
  #byId: ReadonlyMap<string, RequestedCall> = new Map()

  /** Keeps the calls of a reply that is about to be recorded. */
  keep(records: readonly RunRecord[]): void {
    const reply = records.find(({ kind }) => kind === 'assistant_message')
    if (reply?.kind !== 'assistant_message') return
    const { tool_calls: calls } = reply.payload
    const byId = new Map(calls.map((call) => [recordedId(call), call]))
    // If two ids become the same when they are masked, they do not identify a call.
    this.#byId = byId.size === calls.length ? byId : new Map()
  }

  /** A recorded call with the arguments of the model; null if only the masked ones are known. */
  callToRun<C extends RequestedCall>(call: C): C | null {
    const requested = this.#byId.get(call.call_id)
    if (requested === undefined) return masksIn(JSON.stringify(call)).length > 0 ? null : call
    const { call_id: _, tool: __, ...given } = requested
    return { ...call, ...given }
  }
}

const recordedId = ({ call_id }: RequestedCall): string => processMask.text(call_id.toWellFormed())

const NOT_RUN =
  'This call was not run: its arguments contained a secret, which the log holds only in masked form, and ' +
  'the server restarted, or a person was asked, before the call. Repeat the call if it is still needed.'

/** The result of a call whose arguments are known only with masks. */
export function notRunMasked({ call_id, tool }: OpenCall): PayloadOf<'tool_result'> {
  return {
    call_id,
    tool,
    output: NOT_RUN,
    exit_code: null,
    outcome: 'rejected',
    duration_ms: 0,
    bytes: Buffer.byteLength(NOT_RUN),
    truncated: false,
    sha256: null,
  }
}

/** A run, and the project of its family: see `RunSession`. */
type Session = { readonly state: RunState; root(): Promise<string | null | undefined> }

/** What the rules say of a call, and the network that it asks a person for. */
type Review = { readonly verdict: Verdict; readonly network?: Network }

const ALLOWED: Verdict = { action: 'allow', rule: null, doubt: null }
const NO_RULES: NonNullable<RunState['approvals']> = {
  ...{ run: [], server: [], lifted: [], approvedCostUsd: 0 },
}

/**
 * Compares the rules of a run with a call.
 * @param call as the model wrote it; null if only its masked form is known, so that it cannot run
 */
export async function reviewCall(
  call: RequestedCall | null,
  session: Session,
  toolbox: Pick<Toolbox, 'facts'>,
  workspace: Workspace,
): Promise<Review> {
  const { approvals, config, runId, total, shellFolder } = session.state
  const asks = approvals !== undefined || call?.tool === NETWORK_TOOL
  const isExcluded = call !== null && config.tools?.exclude?.includes(call.tool) === true
  if (call === null || !asks || isExcluded) return { verdict: ALLOWED }
  const { cwd, network: had } = config
  const place = { cwd, workspace, runId, ...present({ shellFolder, network: had }) }
  const root = await session.root()
  const facts = await toolbox.facts(call, root === undefined ? place : { ...place, root })
  if (facts === null) return { verdict: ALLOWED }
  const { approvedCostUsd = 0, ...rules } = approvals ?? NO_RULES
  const known = total.costUsd !== null && approvedCostUsd !== null
  const costUsd: CallFacts['costUsd'] = known ? total.costUsd - approvedCostUsd : null
  const { network, ...others } = facts
  return { verdict: judge({ ...others, costUsd }, rules), ...present({ network }) }
}
