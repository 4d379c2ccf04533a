import { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai'
import type { ModelFailure } from './model.ts'
import { readProblem } from './problem.ts'
import { retryAfterMs } from './retry-after.ts'

/** Who was asked for what, and how to write about it. */
export type Asked = {
  readonly host: string
  readonly model: string
  /** Environment variable with the key that was sent; null if the endpoint takes none. */
  readonly keyName: string | null
  /** Shortens what an endpoint wrote, and takes the keys out. */
  readonly quote: (text: string) => string
}

/** Statuses below 500 that another try may change. */
const PASSING = new Set([408, 409, 425, 429])

/** What a request has run into, from what the SDK threw. */
export function failureOf(cause: unknown, asked: Asked): ModelFailure {
  if (cause instanceof APIConnectionTimeoutError) {
    return transient(`${asked.host} took too long to answer for ${asked.model}`)
  }
  if (cause instanceof APIError && typeof cause.status === 'number') {
    const { status, error, headers } = cause
    return statusFailure(status, error, headers ?? new Headers(), asked)
  }
  const why = asked.quote(rootMessage(cause))
  return transient(
    cause instanceof APIConnectionError
      ? `${asked.host} cannot be reached for ${asked.model}: ${why}`
      : `The connection to ${asked.host} broke while ${asked.model} answered: ${why}`,
  )
}

/** What an error answer means: `status` as HTTP has it, `body` as parsed from the answer. */
export function statusFailure(
  status: number,
  body: unknown,
  headers: Headers,
  { host, model, keyName, quote }: Asked,
): ModelFailure {
  const problem = readProblem(body)
  const said = quote(problem.message)
  const refused = (status < 500 && !PASSING.has(status)) || problem.code === 'insufficient_quota'
  if (refused) {
    const hint = status === 401 && keyName !== null ? ` (is ${keyName} right?)` : ''
    const message = `${host} refused the request for ${model} (${status}): ${said}${hint}`
    return { type: 'refused', message }
  }
  const message = `${host} failed to answer for ${model} (${status}): ${said}`
  return transient(message, retryAfterMs(headers, Date.now()))
}

export function timedOut(ms: number, { host, model }: Asked): ModelFailure {
  return transient(`${host} gave no reply for ${model} within ${ms / 1000} s`)
}

export function nonsense(what: string, { host, model, quote }: Asked): ModelFailure {
  return transient(`The reply of ${host} for ${model} makes no sense: ${quote(what)}`)
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
