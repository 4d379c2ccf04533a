import { use } from './evolve-calls.ts'
import { present } from './present.ts'
import type { PayloadOf, RecordOf } from './records.ts'
import type { RunState } from './state.ts'
import { watchReply } from './stuck.ts'

/** The model has replied. */
export function reply(
  state: RunState,
  { payload }: RecordOf<'assistant_message'>,
): Partial<RunState> {
  const { user_messages, tool_calls: calls, notice } = payload
  return {
    turns: state.turns + 1,
    messages: { ...state.messages, read: user_messages ?? state.messages.read },
    watch: watchReply(state.watch, payload),
    phase: { type: 'replied', calls, ...(notice === undefined ? {} : { isBroken: true }) },
  }
}

/** The conversation is shorter. Attempts to get a summary do not count against those to get the next reply. */
export function compact({ phase }: RunState): Partial<RunState> {
  const otherFailures = phase.type === 'planning' ? phase.otherFailures : undefined
  const failures = otherFailures ?? 0
  return { phase: { type: 'planning', failures, ...present({ otherFailures }) } }
}

/** An attempt to get a reply has failed. */
export function retry(
  { phase }: RunState,
  { ts, payload }: RecordOf<'llm_retry'>,
): Partial<RunState> {
  const { attempt: failures, failure, fallback, reason: what, delay_ms } = payload
  if (fallback !== undefined) {
    const next = { type: 'planning', failures, otherFailures: failures } as const
    return { phase: next, fallback: fallback.to }
  }
  const before = phase.type === 'planning' ? phase : undefined
  const { otherFailures, wait } = before ?? {}
  const invalidReplies = (before?.invalidReplies ?? 0) + (failure === 'invalid_reply' ? 1 : 0)
  return {
    phase: {
      ...{ type: 'planning', failures, ...present({ otherFailures }) },
      ...(invalidReplies > 0 ? { invalidReplies } : {}),
      wait: { what, since: wait?.since ?? ts, nextTry: ts + delay_ms / 1_000 },
    },
  }
}

/** A request had a price. */
export function spend(state: RunState, usage: PayloadOf<'llm_usage'>): Partial<RunState> {
  const { input_tokens, output_tokens, cost_usd } = usage
  const tokens = input_tokens + output_tokens
  return {
    total: use(state.total, tokens, cost_usd),
    thisIteration: use(state.thisIteration, tokens, cost_usd),
  }
}
