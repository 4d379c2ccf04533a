import { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai'
import * as z from 'zod'
import { processMask } from '../../log/masking.ts'
import type { ModelFailure } from './model.ts'

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

/** The failure of a request, from what the SDK threw. */
export function failureOf(cause: unknown, call: CallInfo): ModelFailure {
  if (cause instanceof APIConnectionTimeoutError) {
    return transient(`${call.host} took too long to answer for ${call.model}`)
  }
  if (cause instanceof APIError && typeof cause.status === 'number') {
    const { status, error, headers } = cause
    return statusFailure(status, error, headers ?? new Headers(), call)
  }
  const why = call.quote(rootMessage(cause))
  return transient(
    cause instanceof APIConnectionError
      ? `${call.host} cannot be reached for ${call.model}: ${why}`
      : `The connection to ${call.host} broke during the answer of ${call.model}: ${why}`,
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
  const refused = (status < 500 && !RETRYABLE.has(status)) || problem.code === 'insufficient_quota'
  if (refused) {
    const hint = status === 401 && keyName !== null ? ` (is ${keyName} right?)` : ''
    const message = `${host} refused the request for ${model} (${status}): ${text}${hint}`
    return { type: 'refused', message }
  }
  const message = `${host} failed to answer for ${model} (${status}): ${text}`
  return transient(message, retryAfterMs(headers, Date.now()))
}

export function timedOut(ms: number, { host, model }: CallInfo): ModelFailure {
  return transient(`${host} gave no reply for ${model} within ${ms / 1000} s`)
}

export function invalidReply(what: string, { host, model, quote }: CallInfo): ModelFailure {
  return transient(`The reply of ${host} for ${model} is not valid: ${quote(what)}`)
}

function transient(message: string, wait: number | null = null): ModelFailure {
  return { type: 'transient', message, retryAfterMs: wait }
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
})

const Wrapped = z.object({ error: z.union([z.string().min(1), z.looseObject({})]) })

/** The problem that an endpoint reports. `code` is its own code, or a status in the body. */
type Problem = { readonly message: string; readonly code: string | number | null }

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
    const { message, code, type } = detail.data
    return { message, code: type === 'insufficient_quota' ? type : (code ?? null) }
  }
  return { message: textOf(inner), code: null }
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
/** A shorter key is no secret, and removing it would spoil every message. */
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

function number(value: string | null): number | null {
  return value !== null && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : null
}
