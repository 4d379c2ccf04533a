import { masksIn } from '../domain/mask/finder.ts'
import type { PayloadOf, RequestedCall, RunRecord } from '../domain/records.ts'
import type { OpenCall } from '../domain/state.ts'
import { processMask } from '../log/masking.ts'

/**
 * The calls of the last reply as the model gave them. The log holds them with secrets masked, and they
 * have to be run as they were asked for. They are nowhere else, so a process that takes a run over does
 * not know them.
 */
export class AskedCalls {
  #byId: ReadonlyMap<string, RequestedCall> = new Map()

  /** Keeps the calls of a reply that is about to be recorded. */
  keep(records: readonly RunRecord[]): void {
    const reply = records.find(({ kind }) => kind === 'assistant_message')
    if (reply?.kind !== 'assistant_message') return
    const { tool_calls: calls } = reply.payload
    const byId = new Map(calls.map((call) => [recordedId(call), call]))
    // Ids that are masked alike do not tell which call is meant.
    this.#byId = byId.size === calls.length ? byId : new Map()
  }

  /** A recorded call with the arguments that were asked for; null where only masked ones are known. */
  callToRun(call: OpenCall): OpenCall | null {
    const asked = this.#byId.get(call.call_id)
    if (asked === undefined) return masksIn(JSON.stringify(call)).length > 0 ? null : call
    const { call_id: _, tool: __, ...given } = asked
    return { ...call, ...given }
  }
}

const recordedId = ({ call_id }: RequestedCall): string => processMask.text(call_id.toWellFormed())

const NOT_RUN =
  'This call was not run: its arguments held a secret, which is masked in the log, and the server was ' +
  'started again before it got to it. Ask for it again if it is still needed.'

/** The result of a call whose arguments are known masked only. */
export function notRunMasked({ call_id, tool }: OpenCall): PayloadOf<'tool_result'> {
  return {
    call_id,
    tool,
    output: NOT_RUN,
    outcome: 'rejected',
    exit_code: null,
    duration_ms: 0,
    bytes: Buffer.byteLength(NOT_RUN),
    truncated: false,
    sha256: null,
  }
}
