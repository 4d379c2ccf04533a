import type { AccessEntry, GrantedKind } from '../domain/access.ts'

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
}

/** How long equal accesses are counted before they are written, seconds. */
const WINDOW_SECONDS = 60
const MAX_WINDOWS = 10_000
/** How many addresses of unknown clients are distinguished at a time. */
const MAX_UNKNOWN = 100

/**
 * Makes entries of accesses. The first access is an entry at once. Equal ones are counted and become one entry a
 * minute, with the last query. So a client that polls every second, or varies its query, adds one entry a minute.
 */
export class AccessWindows {
  readonly #write: (entry: AccessEntry) => void
  /** By their keys, oldest first. */
  readonly #windows = new Map<string, Window>()
  #unknown = 0

  constructor(write: (entry: AccessEntry) => void) {
    this.#write = write
  }

  /** @param now seconds since the epoch */
  add(given: Access, now: number): void {
    const access = this.#limited(given)
    const key = keyOf(access)
    const window = this.#windows.get(key)
    if (window !== undefined) {
      const isFirst = window.count === 0
      window.access = isFirst ? access : merged(window.access, access)
      window.first = isFirst ? now : Math.min(window.first, now)
      window.last = isFirst ? now : Math.max(window.last, now)
      window.count += 1
      return
    }
    const [oldest] = this.#windows.values()
    if (oldest !== undefined && this.#windows.size >= MAX_WINDOWS) this.#close(oldest, now)
    this.#write(entryOf(access, { count: 1, first_ts: now, last_ts: now }, now))
    this.#open({ key, began: now, access, count: 0, first: now, last: now })
  }

  /** Writes what was counted for a minute. */
  closeOld(now: number): void {
    for (const window of this.#windows.values()) {
      // Of a clock that was set back, nobody knows how long it would take to reach the minute again.
      if (now >= window.began && now - window.began < WINDOW_SECONDS) return
      this.#close(window, now)
      // A client that asked the whole minute will ask again: its next entry comes in a minute, not at once.
      if (window.count > 0) this.#open({ ...window, began: now, count: 0 })
    }
  }

  closeAll(now: number): void {
    for (const window of this.#windows.values()) this.#close(window, now)
  }

  #open(window: Window): void {
    this.#windows.set(window.key, window)
    if (window.access.principal === null) this.#unknown += 1
  }

  #close({ key, access, count, first, last }: Window, now: number): void {
    this.#windows.delete(key)
    if (access.principal === null) this.#unknown -= 1
    if (count > 0) this.#write(entryOf(access, { count, first_ts: first, last_ts: last }, now))
  }

  /** Unknown clients are distinguished only by their address, and only up to a number of addresses. */
  #limited(access: Access): Access {
    if (access.principal !== null) return access
    const unknown = { ...access, run_id: null, asked: '' }
    const known = this.#windows.has(keyOf(unknown)) || this.#unknown < MAX_UNKNOWN
    return known ? unknown : { ...unknown, client: null }
  }
}

function keyOf({ kind, principal, client, run_id, operation }: Access): string {
  if (principal === null) return `${kind}\n\n${client}`
  return `${kind}\n${principal}\n${client}\n${run_id}\n${operation}`
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
