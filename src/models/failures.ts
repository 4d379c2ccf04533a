import { unended } from '../domain/texts.ts'
import { processMask } from '../log/masking.ts'
import type { ModelFailure, TransientKind } from './model.ts'
import {
  isOverflow,
  isReasoningRefused,
  isSpent,
  isUnreadableCall,
  readProblem,
  statusOf,
} from './reported-problem.ts'

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
