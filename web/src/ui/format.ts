import { visible } from './foreign-text.ts'

const INTEGER = new Intl.NumberFormat('en-US')
const CENTS = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 })
const COMPACT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 })

export const formatCount = (count: number): string => INTEGER.format(count)
/** A number of things of which only the first 100 are read. */
export const formatUpTo100 = (count: number): string => (count >= 100 ? '100+' : `${count}`)
export const formatCompact = (count: number): string => COMPACT.format(count)

/** `1 record`, `2 records`. */
export const counted = (count: number, thing: string): string =>
  `${INTEGER.format(count)} ${thing}${count === 1 ? '' : 's'}`

/** US dollars, with as many digits as small sums need; a price that is not known is a dash. */
export function formatCost(costUsd: number | null): string {
  if (costUsd === null) return '—'
  if (costUsd === 0) return '$0'
  if (costUsd < 0.0001) return '<$0.0001'
  return costUsd < 0.1 ? `$${costUsd.toFixed(4)}` : `$${CENTS.format(costUsd)}`
}

/** For steps and calls: `340 ms`, `4.2 s`, `2 m 05 s`, `3 h 20 m`. */
export function formatDuration(seconds: number): string {
  const safe = Math.max(0, seconds)
  if (safe < 0.9995) return `${Math.round(safe * 1000)} ms`
  if (safe < 59.95) return `${safe.toFixed(1)} s`
  const whole = Math.round(safe)
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes} m ${two(whole % 60)} s`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours} h ${two(minutes % 60)} m`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** For a clock that runs: `0:07`, `12:34`, `1:02:03`. */
export function formatClock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`
}

/** Time into a run: `0:07.3`, `12:34.0`. */
export function formatOffset(seconds: number): string {
  const tenths = Math.floor(Math.max(0, seconds) * 10)
  return `${formatClock(tenths / 10)}.${tenths % 10}`
}

const two = (value: number): string => String(value).padStart(2, '0')

/** `just now`, `5 min ago`, `3 h ago`, then the date. Both in milliseconds since the epoch. */
export function formatAgo(then: number, now: number): string {
  const minutes = Math.floor((now - then) / 60_000)
  if (minutes < 1) return 'just now'
  if (minutes < 60) return `${minutes} min ago`
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`
  return DAY.format(then)
}

const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })
const MOMENT = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
})
const FULL = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' })

/** Time of day to the millisecond. @param ts seconds since the epoch */
export const formatMoment = (ts: number): string => MOMENT.format(ts * 1000)
/** @param ts seconds since the epoch */
export const formatFullTime = (ts: number): string => FULL.format(ts * 1000)

const SHORT = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })

/** For tables: `1 Dec 2026, 06:12:49`. @param ms since the epoch */
export const formatTime = (ms: number): string => SHORT.format(ms)

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}

/** The last part of a path, with nothing hidden in it. */
export const baseName = (path: string): string =>
  visible(path.split('/').findLast((part) => part !== '') ?? path)
export const shortId = (runId: string): string => runId.slice(0, 8)

/** A text of somebody else, with a mark at its end. */
export const asSentence = (text: string): string => visible(text).replace(/(?<![.!?])$/, '.')
