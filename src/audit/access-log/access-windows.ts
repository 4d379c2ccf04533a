import type { AccessEntry, GrantedKind } from '../../domain/access.ts'

/** What one request was shown, or was refused. */
export type Access = {
  readonly run_id: string | null
  readonly principal: string | null
  readonly client: string | null
  readonly operation: string
  readonly asked: string
} & (
  | { readonly kind: GrantedKind }
  | { readonly kind: 'access_refused'; readonly status: number }
  | {
      readonly kind: 'watch_ended'
      readonly last: number | string | null
      readonly seconds: number
    }
)

/** Accesses that differ only in their time and their query. */
type Window = {
  readonly key: string
  began: number
  /** The last access that is not written yet; its entry covers all of them. */
  access: Access
  count: number
  first: number
  last: number
  /** How often each listed query was made. */
  queries: Map<string, number>
  /** Characters of these queries. */
  length: number
  unlisted: number
}

/** An entry lists at most this many queries, with this many characters in all. */
const [MAX_QUERIES, MAX_LENGTH] = [100, 8_000] as const
/** All open windows list at most this many characters: beyond that, the oldest are written. */
const MAX_LENGTH_IN_ALL = 8_000_000

/** How long equal accesses are counted before they are written, seconds. */
const WINDOW_SECONDS = 60
const MAX_WINDOWS = 10_000
/** How many addresses of unknown clients are distinguished at a time. */
const MAX_STRANGERS = 100

/**
 * Makes entries of accesses. The first access is an entry at once. Equal ones are counted and become one entry a
 * minute, so a client that polls every second does not fill the log. The entry lists their queries with counts, up to
 * a bound, and how many are not listed. So a client that varies its query without end adds one entry of some
 * kilobytes a minute, and no more.
 */
export class AccessWindows {
  readonly #write: (entry: AccessEntry) => boolean
  /** By their keys, oldest first. */
  readonly #windows = new Map<string, Window>()
  #strangers = 0
  #length = 0

  /** @param write returns whether it accepted the entry */
  constructor(write: (entry: AccessEntry) => boolean) {
    this.#write = write
  }

  /** @param now seconds since the epoch @returns whether the access became an entry or was counted */
  add(given: Access, now: number): boolean {
    const access = this.#strangerOf(given)
    const key = keyOf(access)
    const window = this.#windows.get(key)
    if (window !== undefined) {
      window.access = window.count === 0 ? access : merged(window.access, access)
      const isFirst = window.count === 0
      window.first = isFirst ? now : Math.min(window.first, now)
      window.last = isFirst ? now : Math.max(window.last, now)
      window.count += 1
      this.#list(window, access.asked)
      this.#makeRoom(now)
      return true
    }
    const [oldest] = this.#windows.values()
    if (oldest !== undefined && this.#windows.size >= MAX_WINDOWS) this.#close(oldest, now)
    const taken = this.#write(entryOf(access, { count: 1, first_ts: now, last_ts: now }, now))
    if (taken)
      this.#open({ key, began: now, access, count: 0, first: now, last: now, ...nothing() })
    return taken
  }

  #list(window: Window, asked: string): void {
    const { queries, length } = window
    const before = queries.get(asked)
    const fits = queries.size < MAX_QUERIES && length + asked.length <= MAX_LENGTH
    if (before === undefined && !fits) {
      window.unlisted += 1
      return
    }
    queries.set(asked, (before ?? 0) + 1)
    if (before !== undefined) return
    window.length += asked.length
    this.#length += asked.length
  }

  #makeRoom(now: number): void {
    for (const window of this.#windows.values()) {
      if (this.#length <= MAX_LENGTH_IN_ALL) return
      this.#close(window, now)
    }
  }

  /** Writes what was counted for a minute. */
  closeOld(now: number): void {
    for (const window of this.#windows.values()) {
      // Of a clock that was set back, nobody knows how long it would take to reach the minute again.
      if (now >= window.began && now - window.began < WINDOW_SECONDS) return
      this.#close(window, now)
      // A client that asked the whole minute will ask again: its next entry comes in a minute, not at once.
      if (window.count > 0) this.#open({ ...window, began: now, count: 0, ...nothing() })
    }
  }

  closeAll(now: number): void {
    for (const window of [...this.#windows.values()]) this.#close(window, now)
  }

  #open(window: Window): void {
    this.#windows.set(window.key, window)
    if (window.access.principal === null) this.#strangers += 1
  }

  #close(window: Window, now: number): void {
    const { key, access, count, first, last } = window
    this.#windows.delete(key)
    this.#length -= window.length
    if (access.principal === null) this.#strangers -= 1
    if (count === 0) return
    const times = { count, first_ts: first, last_ts: last }
    this.#write(entryOf({ ...access, ...listOf(window) }, times, now))
  }

  /** Unknown clients are distinguished only by their address, and only up to a number of addresses. */
  #strangerOf(access: Access): Access {
    if (access.principal !== null) return access
    const stranger = { ...access, run_id: null, asked: '' }
    const known = this.#windows.has(keyOf(stranger)) || this.#strangers < MAX_STRANGERS
    return known ? stranger : { ...stranger, client: null }
  }
}

function keyOf({ kind, principal, client, run_id, operation }: Access): string {
  if (principal === null) return `${kind}\n\n${client}`
  return `${kind}\n${principal}\n${client}\n${run_id}\n${operation}`
}

const nothing = () => ({ queries: new Map<string, number>(), length: 0, unlisted: 0 })

/** Empty if all made the same query, which the entry has already. */
function listOf({ queries, unlisted }: Window) {
  if (queries.size <= 1 && unlisted === 0) return {}
  const listed = [...queries].map(([asked, count]) => ({ asked, count }))
  return { queries: listed, ...(unlisted === 0 ? {} : { unlisted }) }
}

/** One access for both: of watches, the one that reached furthest. */
function merged(before: Access, access: Access): Access {
  if (access.kind !== 'watch_ended' || before.kind !== 'watch_ended') return access
  const [a, b] = [before.last, access.last]
  const last = typeof a === 'number' && typeof b === 'number' ? Math.max(a, b) : (b ?? a)
  return { ...access, last, seconds: before.seconds + access.seconds }
}

type Times = { readonly count: number; readonly first_ts: number; readonly last_ts: number }

function entryOf({ kind, ...access }: Access, times: Times, now: number): AccessEntry {
  return { kind, ts: now, payload: { ...access, ...times } } as AccessEntry
}
