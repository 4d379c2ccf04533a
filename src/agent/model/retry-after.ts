/**
 * How long an endpoint asks us to wait, in milliseconds; null if it does not say.
 * `retry-after-ms` counts milliseconds; `Retry-After` (RFC 9110) counts seconds or names a date.
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
