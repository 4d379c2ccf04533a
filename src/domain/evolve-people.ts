import type { RecordOf } from './records.ts'
import type { ConfigChanges } from './run-config.ts'
import type { RunState } from './state.ts'
import { UNSUSPICIOUS } from './stuck.ts'

/** What a record keeps that is not of a process at work on the run. */
export const unworked = ({ crashes, queued }: RunState) => ({ crashes, queued })

/** A change of its models is a decision of a person, so the run asks the first of them again. */
export function configure(state: RunState, changes: ConfigChanges): Partial<RunState> {
  const { model_name, fallback_models } = changes
  const isReset = state.fallback != null && (model_name ?? fallback_models) !== undefined
  return {
    ...unworked(state),
    config: { ...state.config, ...changes },
    ...(isReset ? { fallback: null } : {}),
  }
}

/** After the answer to a human check. */
export function answer(
  state: RunState,
  record: RecordOf<'human_check_response'>,
): Partial<RunState> {
  const { decision, reason } = record.payload
  const waited = state.waitingSince === null ? 0 : record.ts - state.waitingSince
  return {
    waitingSince: null,
    waitedSeconds: state.waitedSeconds + Math.max(0, waited),
    // A person may have changed the project meanwhile.
    changed: true,
    watch: UNSUSPICIOUS,
    phase:
      decision === 'approve'
        ? { type: 'ready' }
        : { type: 'aborting', reason: reason ?? 'Aborted at a human check' },
  }
}

/** The last messages whose keys are remembered. */
const NAMED_MESSAGES = 64

/** After a message. */
export function receive(state: RunState, { payload }: RecordOf<'user_message'>): Partial<RunState> {
  const { idempotency } = payload
  const named = idempotency === undefined ? [] : [{ seq: state.seq + 1, ...idempotency }]
  return {
    // It interrupts nothing that is under way.
    ...unworked(state),
    // The person may have changed the project, too.
    changed: true,
    watch: UNSUSPICIOUS,
    messages: { ...state.messages, sent: state.messages.sent + 1 },
    namedMessages: [...state.namedMessages, ...named].slice(-NAMED_MESSAGES),
  }
}
