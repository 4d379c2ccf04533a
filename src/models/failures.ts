import * as z from 'zod'
import { unended } from '../domain/texts.ts'
import { processMask } from '../masking/process-mask.ts'
import type { ModelFailure, TransientKind } from './model.ts'

/** The endpoint and the model of a call. */
export type CallInfo = {
  readonly host: string
  readonly model: string
  /** The environment variable of the key that was sent; null if the endpoint needs none. */
  readonly keyName: string | null
}

/** The failure of a request that got no response. */
export function unreachable(cause: unknown, { host, model }: CallInfo): ModelFailure {
  const why = quote(rootMessage(cause))
  return transient('unreachable', `${host} cannot be reached for ${model}: ${why}`)
}

/** The failure of a response that ended before its reply was whole. */
export function brokenOff(cause: unknown, { host, model }: CallInfo): ModelFailure {
  const why = quote(rootMessage(cause))
  const message = `The connection to ${host} broke during the answer of ${model}: ${why}`
  return transient('broken_off', message)
}

/** The failure that an error response means: `status` of HTTP, `body` parsed from the response. */
export function statusFailure(
  status: number,
  body: unknown,
  headers: Headers,
  call: CallInfo,
): ModelFailure {
  const { host, model, keyName } = call
  const problem = readProblem(body)
  const text = quote(problem.message)
  const refusal = `${host} refused the request for ${model} (${status}): ${text}`
  if (isSpent(status, problem)) return { ...transient('rate_limited', refusal), isSpent: true }
  if (isOverflow(status, problem)) return { type: 'context_overflow', message: refusal }
  if (isReasoningRefused(status, problem)) return { type: 'reasoning_refused', message: refusal }
  if (isUnreadableCall(problem))
    return { ...noReply(problem.message, call), isUnreadableCall: true }
  if (status < 500 && !RETRYABLE.has(status)) {
    const isElsewhere = status === 404 || (status >= 300 && status < 400)
    const where = isElsewhere ? 'are the address of the endpoint and the name of the model' : null
    const suspect = status === 401 && keyName !== null ? `is ${keyName}` : where
    const message = suspect === null ? refusal : `${unended(refusal)} (${suspect} right?)`
    return { type: 'refused', message }
  }
  const message = `${host} failed to answer for ${model} (${status}): ${text}`
  return transient(transientKind(status), message, retryAfterMs(headers))
}

/** Statuses below 500 after which another attempt may succeed. */
const RETRYABLE = new Set([408, 409, 425, 429])

/** The failure that a provider reports in a response with a status of success, or in the middle of a stream. */
export function reportedFailure(body: unknown, headers: Headers, call: CallInfo): ModelFailure {
  const { code, type } = readProblem(body)
  const status = [code, type].map(statusOf).find((known) => known !== null) ?? 500
  return statusFailure(status, body, headers, call)
}

function transientKind(status: number): TransientKind {
  if (status === 429) return 'rate_limited'
  if (status === 503 || status === 529) return 'overloaded'
  if (status === 408 || status === 504) return 'timed_out'
  return status < 500 ? 'invalid_reply' : 'server_error'
}

export function tooSlow(
  { type, ms }: { readonly type: 'timed_out' | 'silent'; readonly ms: number },
  { host, model }: CallInfo,
): ModelFailure {
  const what = type === 'silent' ? 'sent nothing' : 'gave no reply'
  const how = type === 'silent' ? 'for' : 'within'
  return transient(type, `${host} ${what} for ${model} ${how} ${ms / 1000} s`)
}

/** The failure of a response that is no message of its API, such as the page of a proxy. */
export function noReply(what: string, { host, model }: CallInfo) {
  const message = `The reply of ${host} for ${model} is not valid: ${quote(what)}`
  return transient('invalid_reply', message)
}

/** The failure of a reply of the model that cannot be used. */
export const unusableReply = (what: string, call: CallInfo): ModelFailure => ({
  ...noReply(what, call),
  isReply: true,
})

function transient(kind: TransientKind, message: string, wait: number | null = null) {
  return { type: 'transient', kind, message, retryAfterMs: wait } as const
}

/** The innermost reason: fetch wraps what the socket said. */
function rootMessage(cause: unknown): string {
  let current = cause
  while (current instanceof Error && current.cause instanceof Error) current = current.cause
  if (!(current instanceof Error)) return String(current)
  const inner = current instanceof AggregateError ? current.errors[0] : undefined
  if (inner instanceof Error) return inner.message
  return current.message || current.name
}

const MAX_LENGTH = 300

/** A foreign text as a short line without secrets. They are removed first, because half of one would not be recognized. */
function quote(text: string): string {
  const line = processMask.text(text).replaceAll(/\s+/g, ' ').trim()
  return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line
}

/**
 * How long an endpoint asks this client to wait, in milliseconds; null if it does not. `Retry-After` (RFC 9110) counts
 * seconds or names a date.
 */
function retryAfterMs(headers: Headers): number | null {
  const value = headers.get('retry-after') ?? ''
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Math.ceil(Number(value) * 1000)
  const date = Date.parse(value)
  return Number.isNaN(date) ? null : Math.max(0, date - Date.now())
}

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
const isSpent = (status: number, { code, type, message }: Problem): boolean =>
  status === 402 || SPENT.test(message) || [code, type].some((name) => QUOTA.has(String(name)))

/** What Anthropic answers with status 400, and xAI with 403. */
const SPENT =
  /credit balance is too low|reached your specified API usage limits|used all available credits/i

/** Whether the model wrote a call that its provider cannot read. */
const isUnreadableCall = ({ message, code }: Problem): boolean =>
  code === 'tool_use_failed' || UNREADABLE_CALL.test(message)

/** Whether a provider gets reasoning back that is not as it sent it. */
const isReasoningRefused = (status: number, { message, code }: Problem): boolean =>
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
function isOverflow(status: number, { message, code, type }: Problem): boolean {
  if (status === 413 || MORE_THAN_A_MINUTE.test(message)) return true
  if (status === 429) return false
  if ([code, type].some((name) => OVERFLOW_CODES.has(String(name)))) return true
  return !RATE_LIMIT.test(message) && OVERFLOW.test(message)
}

const QUOTA: ReadonlySet<string> = new Set([
  'insufficient_quota',
  'credit_balance_exhausted',
  'billing_error',
  'billing_not_active',
  'billing_hard_limit_reached',
  'enforced_spend_limit_reached',
  'contract_spend_limit_reached',
  // Of Kimi and Z.AI.
  'exceeded_current_quota_error',
  '1113',
])

/** What Ollama answers, with status 500 or in a stream, if the model wrote a call that it cannot read. Groq has a code for it. */
const UNREADABLE_CALL = /error parsing tool call/i

const REASONING_REFUSED =
  /bound to a different conversation|invalid `?signature`?|thinking.{0,40}cannot be modified|invalid_encrypted_content|encrypted content .{0,60}(?:could not be|cannot be)|without its required following item|corrupted thought signature|invalid thought signature/i

/** The statuses that the error codes of streams mean. */
const STATUS_OF: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  invalid_prompt: 400,
  context_length_exceeded: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  model_not_found: 404,
  request_too_large: 413,
  bio_policy: 400,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  slow_down: 429,
  insufficient_quota: 429,
  api_error: 500,
  server_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
}

/** The status that a code means; null if it means none. */
function statusOf(code: string | number | null): number | null {
  const known = STATUS_OF[String(code)] ?? Number(code ?? Number.NaN)
  return known >= 400 && known < 600 ? known : null
}
