import * as z from 'zod'

const Detail = z.object({
  message: z.string(),
  code: z.union([z.string(), z.number()]).nullish().catch(null),
  type: z.string().nullish().catch(null),
  details: z.looseObject({ error_code: z.string() }).nullish().catch(null),
})

const Wrapped = z.object({ error: z.union([z.string().min(1), z.looseObject({})]) })

/** The problem that an endpoint reports. `code` is its own code, or a status in the body. */
type Problem = {
  readonly message: string
  readonly code: string | number | null
  readonly type: string | null
}

/**
 * Reads the body of an error, wherever an endpoint puts its message: `{error: {message}}`, the same
 * in a list (Google), `{error: "…"}` (Ollama), `{message}` (vLLM), or plain text.
 */
export function readProblem(body: unknown): Problem {
  const first: unknown = Array.isArray(body) ? body[0] : body
  const wrapped = Wrapped.safeParse(first)
  const inner = wrapped.success ? wrapped.data.error : first
  const detail = Detail.safeParse(inner)
  if (detail.success) {
    const { message, code, type, details } = detail.data
    return { message, code: details?.error_code ?? code ?? null, type: type ?? null }
  }
  return { message: textOf(inner), code: null, type: null }
}

/** Whether a body contains an error at all. */
export function holdsProblem(body: unknown): boolean {
  return Wrapped.safeParse(body).success
}

function textOf(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? '')
  return ['', '""', '{}'].includes(text.trim()) ? 'no reason given' : text
}

/** Whether a limit of money, or of a day, is reached: only a long wait, or a person who pays, helps. */
export const isSpent = (status: number, { code, type, message }: Problem): boolean =>
  status === 402 || SPENT.test(message) || [code, type].some((name) => QUOTA.has(String(name)))

/** What Anthropic answers with status 400, and xAI with 403. */
const SPENT =
  /credit balance is too low|reached your specified API usage limits|used all available credits/i

/** Whether the model wrote a call that its provider cannot read. */
export const isUnreadableCall = ({ message, code }: Problem): boolean =>
  code === 'tool_use_failed' || UNREADABLE_CALL.test(message)

/** Whether a provider gets reasoning back that is not as it sent it. */
export const isReasoningRefused = (status: number, { message, code }: Problem): boolean =>
  status === 400 && REASONING_REFUSED.test(`${code} ${message}`)

/** Error codes that mean that a conversation is too long for its model. */
const OVERFLOW_CODES: ReadonlySet<string> = new Set([
  'context_length_exceeded',
  'request_too_large',
  'model_context_window_exceeded',
])

/** What the endpoints write if a conversation is too long. Few of them have a code for it. */
const OVERFLOW =
  /(?:prompt|input|context)\b.{0,60}(?:too long|exceed|longer than|only supports)|context (?:window|length|size|limit)|token limit|maximum prompt length|too many tokens|reduce the length of/i

/** Of OpenAI and Groq: one request has more tokens than a minute allows, so no wait helps. */
const MORE_THAN_A_MINUTE = /^request too large for/i

/** Limits on the rate of requests use similar words. */
const RATE_LIMIT = /rate.?limit|throttl|too many requests|per minute|service unavailable/i

/** Whether the conversation is longer than what its model is given. Some local servers report that with status 500. */
export function isOverflow(status: number, { message, code, type }: Problem): boolean {
  if (status === 413 || MORE_THAN_A_MINUTE.test(message)) return true
  if (status === 429) return false
  if ([code, type].some((name) => OVERFLOW_CODES.has(String(name)))) return true
  return !RATE_LIMIT.test(message) && OVERFLOW.test(message)
}

const QUOTA: ReadonlySet<string> = new Set([
  ...['insufficient_quota', 'credit_balance_exhausted', 'billing_error', 'billing_not_active'],
  ...['billing_hard_limit_reached', 'enforced_spend_limit_reached', 'contract_spend_limit_reached'],
  // Of Kimi and Z.AI.
  ...['exceeded_current_quota_error', '1113'],
])

/** What Ollama answers, with status 500 or in a stream, if the model wrote a call that it cannot read. Groq has a code for it. */
const UNREADABLE_CALL = /error parsing tool call/i

const REASONING_REFUSED =
  /bound to a different conversation|invalid `?signature`?|thinking.{0,40}cannot be modified|invalid_encrypted_content|encrypted content .{0,60}(?:could not be|cannot be)|without its required following item|corrupted thought signature|invalid thought signature/i

/** The statuses that the error codes of streams mean. */
const STATUS_OF: Readonly<Record<string, number>> = {
  ...{ invalid_request_error: 400, invalid_prompt: 400, context_length_exceeded: 400 },
  ...{ authentication_error: 401, billing_error: 402, permission_error: 403 },
  ...{ not_found_error: 404, model_not_found: 404, request_too_large: 413 },
  bio_policy: 400,
  ...{ rate_limit_error: 429, rate_limit_exceeded: 429, slow_down: 429, insufficient_quota: 429 },
  ...{ api_error: 500, server_error: 500, timeout_error: 504, overloaded_error: 529 },
}

/** The status that a code means; null if it means none. */
export function statusOf(code: string | number | null): number | null {
  const known = STATUS_OF[String(code)] ?? Number(code ?? Number.NaN)
  return known >= 400 && known < 600 ? known : null
}
