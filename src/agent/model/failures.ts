import * as z from 'zod'
import { processMask } from '../../log/masking.ts'
import type { ModelFailure, TransientKind } from './model.ts'
import { isOverflow } from './overflow.ts'

/** The endpoint and the model of a call, and how to quote it. */
export type CallInfo = {
  readonly host: string
  readonly model: string
  /** The environment variable of the key that was sent; null if the endpoint needs none. */
  readonly keyName: string | null
  /** Shortens a text of an endpoint and removes the keys. */
  readonly quote: (text: string) => string
}

/** Statuses below 500 after which another attempt may succeed. */
const RETRYABLE = new Set([408, 409, 425, 429])

/** The failure of a request that got no response. */
export function unreachable(cause: unknown, { host, model, quote }: CallInfo): ModelFailure {
  const why = quote(rootMessage(cause))
  return transient('unreachable', `${host} cannot be reached for ${model}: ${why}`)
}

/** The failure of a response that ended before its reply was whole. */
export function brokenOff(cause: unknown, { host, model, quote }: CallInfo): ModelFailure {
  const why = quote(rootMessage(cause))
  return transient(
    'broken_off',
    `The connection to ${host} broke during the answer of ${model}: ${why}`,
  )
}

/** The failure that an error response means: `status` of HTTP, `body` parsed from the response. */
export function statusFailure(
  status: number,
  body: unknown,
  headers: Headers,
  { host, model, keyName, quote }: CallInfo,
): ModelFailure {
  const problem = readProblem(body)
  const text = quote(problem.message)
  const refusal = `${host} refused the request for ${model} (${status}): ${text}`
  switch (natureOf(status, problem)) {
    case 'context_overflow':
      return { type: 'context_overflow', message: refusal }
    case 'reasoning_refused':
      return { type: 'reasoning_refused', message: refusal }
    case 'refused': {
      const hint = status === 401 && keyName !== null ? ` (is ${keyName} right?)` : ''
      return { type: 'refused', message: `${refusal}${hint}` }
    }
    case 'transient': {
      const message = `${host} failed to answer for ${model} (${status}): ${text}`
      const wait = retryAfterMs(headers, Date.now()) ?? retryDelayMs(body)
      return transient(transientKind(status), message, wait)
    }
  }
}

/** The failure that a provider reports in a response with a status of success, or in the middle of a stream. */
export function reportedFailure(body: unknown, headers: Headers, call: CallInfo): ModelFailure {
  const { code, type } = readProblem(body)
  const status = [code, type].map(statusOf).find((known) => known !== null) ?? 500
  return statusFailure(status, body, headers, call)
}

function natureOf(
  status: number,
  { message, code, type }: Problem,
): 'context_overflow' | 'reasoning_refused' | 'refused' | 'transient' {
  if ([code, type].some((name) => QUOTA.has(String(name)))) return 'refused'
  if (status < 500 && status !== 429) {
    if (isOverflow(message, [code, type])) return 'context_overflow'
    if (status === 400 && REASONING_REFUSED.test(`${code} ${message}`)) return 'reasoning_refused'
    // Groq: the model wrote a call that cannot be read, and may write a better one.
    if (code === 'tool_use_failed') return 'transient'
  }
  return status < 500 && !RETRYABLE.has(status) ? 'refused' : 'transient'
}

function transientKind(status: number): TransientKind {
  if (status === 429) return 'rate_limited'
  if (status === 503 || status === 529) return 'overloaded'
  if (status === 408 || status === 504) return 'timed_out'
  return status < 500 ? 'invalid_reply' : 'server_error'
}

/** A limit of money: no wait helps, even if the status is that of a rate limit. */
const QUOTA: ReadonlySet<string> = new Set([
  ...['insufficient_quota', 'credit_balance_exhausted', 'billing_error', 'billing_not_active'],
  ...['billing_hard_limit_reached', 'enforced_spend_limit_reached', 'contract_spend_limit_reached'],
])

/** What providers answer if they get reasoning back that is not as they sent it. */
const REASONING_REFUSED =
  /bound to a different conversation|invalid `?signature`?|thinking.{0,40}cannot be modified|invalid_encrypted_content|encrypted content .{0,60}(?:could not be|cannot be)|without its required following item|corrupted thought signature|invalid thought signature/i

/** The statuses that the error codes of streams mean. */
const STATUS_OF: Readonly<Record<string, number>> = {
  ...{ invalid_request_error: 400, invalid_prompt: 400, context_length_exceeded: 400 },
  ...{ authentication_error: 401, billing_error: 402, permission_error: 403 },
  ...{ not_found_error: 404, model_not_found: 404, request_too_large: 413 },
  ...{ bio_policy: 400, misalignment_policy_violation: 400, data_residency_mismatch: 400 },
  ...{ rate_limit_error: 429, rate_limit_exceeded: 429, slow_down: 429, insufficient_quota: 429 },
  ...{ api_error: 500, server_error: 500, timeout_error: 504, overloaded_error: 529 },
}

function statusOf(code: string | number | null): number | null {
  const known = STATUS_OF[String(code)] ?? Number(code ?? Number.NaN)
  return known >= 400 && known < 600 ? known : null
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
export function noReply(what: string, { host, model, quote }: CallInfo) {
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

const MAX_LENGTH = 300
/** A shorter key is not a secret, and removing it would spoil every message. */
const MIN_KEY_LENGTH = 4

/**
 * Returns a function that turns foreign text into a short line without `keys` and other known secrets. They are removed
 * before the line is shortened, because half of one would not be recognized.
 */
export function quoter(keys: readonly string[]): (text: string) => string {
  const secrets = keys
    .filter((key) => key.length >= MIN_KEY_LENGTH)
    .toSorted((a, b) => b.length - a.length)
  return (text) => {
    const masked = secrets.reduce(
      (line, key) => line.replaceAll(key, '***'),
      processMask.text(text),
    )
    const line = masked.replaceAll(/\s+/g, ' ').trim()
    return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line
  }
}

/**
 * How long an endpoint asks this client to wait, in milliseconds; null if it does not. `retry-after-ms` counts
 * milliseconds; `Retry-After` (RFC 9110) counts seconds or names a date.
 * @param now milliseconds since the epoch
 */
export function retryAfterMs(headers: Headers, now: number): number | null {
  const exact = number(headers.get('retry-after-ms'))
  if (exact !== null) return exact
  const value = headers.get('retry-after')
  const seconds = number(value)
  if (seconds !== null) return Math.ceil(seconds * 1000)
  const date = value === null ? Number.NaN : Date.parse(value)
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

const RetryInfo = z.object({
  error: z.object({ details: z.array(z.looseObject({ retryDelay: z.string().optional() })) }),
})

/** The wait that Google names in the body of an error, such as `34.4s`, in milliseconds. */
function retryDelayMs(body: unknown): number | null {
  const info = RetryInfo.safeParse(Array.isArray(body) ? body[0] : body)
  const delay = info.data?.error.details.find(({ retryDelay }) => retryDelay !== undefined)
  const seconds = /^(\d+(?:\.\d+)?)s$/.exec(delay?.retryDelay ?? '')?.[1]
  return seconds === undefined ? null : Math.ceil(Number(seconds) * 1000)
}

function number(value: string | null): number | null {
  return value !== null && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : null
}
