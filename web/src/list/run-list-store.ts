import type { Kind, RunQuery } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf, messageOf } from '../api/problem.ts'
import { type RunList, withHead, withOlder } from './run-list.ts'

export type ListSnapshot = {
  readonly list: RunList | null
  readonly loadingOlder: boolean
  /** Why the newest attempt to read the list failed. */
  readonly problem: string | null
}

/** The records that change what a list shows of a run. */
const KINDS: readonly Kind[] = [
  'run_created',
  'run_queued',
  'run_claimed',
  'run_paused',
  'run_resumed',
  'llm_usage',
  'iteration_complete',
  'run_config_changed',
  'subagent_started',
  'human_check_required',
  'human_check_response',
  'approval_required',
  'approval_response',
  'run_end',
]
const HEAD = 100
const MOST = 1000
const OLDER = 500
/** The list is read at most this often, milliseconds. */
const PAUSE_MS = 1000
const RETRY_MS = 3000

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** One list of runs: read once, then whenever the socket of all runs says that one of them has changed. It grows on request. */
export class RunListStore {
  readonly query: RunQuery
  /** Where a person has scrolled to. */
  scrollTop = 0
  readonly #listeners = new Set<() => void>()
  #snapshot: ListSnapshot = { list: null, loadingOlder: false, problem: null }
  #following: AbortController | null = null
  #changed = Promise.withResolvers<void>()

  constructor(query: RunQuery) {
    this.query = query
  }

  readonly getSnapshot = (): ListSnapshot => this.#snapshot

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    if (this.#following === null) {
      this.#following = new AbortController()
      void this.#watch(this.#following.signal)
      void this.#keepFresh(this.#following.signal)
    }
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#following?.abort()
      this.#following = null
    }
  }

  /** Reads the next page, unless one is being read or there is none. */
  readonly loadOlder = async (): Promise<void> => {
    const { list, loadingOlder } = this.#snapshot
    if (loadingOlder || list === null || list.next === null) return
    this.#publish({ loadingOlder: true })
    try {
      const page = await this.#read({ limit: OLDER, cursor: list.next })
      const now = this.#snapshot.list ?? list
      // If the list was reset meanwhile, this page does not belong to it.
      if (now.next === list.next) this.#publish({ list: withOlder(now, page), problem: null })
    } catch (cause) {
      this.#publish({ problem: messageOf(cause) })
    }
    this.#publish({ loadingOlder: false })
  }

  /** Notes that a run has changed, or that the connection has, while the list is shown. */
  async #watch(signal: AbortSignal): Promise<void> {
    const changed = (): void => this.#changed.resolve()
    while (!signal.aborted) {
      try {
        const options = { kinds: KINDS, after: 'end', onState: changed, onCaughtUp: changed }
        for await (const _ of client().watchAll({ ...options, signal })) changed()
      } catch {
        // The list says why it cannot be read.
        await pause(RETRY_MS)
        changed()
      }
    }
  }

  async #keepFresh(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#changed = Promise.withResolvers()
      if (document.visibilityState === 'hidden') {
        await new Promise((resolve) =>
          document.addEventListener('visibilitychange', resolve, { once: true, signal }),
        )
      }
      if (!(await this.#readHead(signal))) this.#changed.resolve()
      await pause(PAUSE_MS)
      await this.#changed.promise
    }
  }

  async #readHead(signal: AbortSignal): Promise<boolean> {
    const known = this.#snapshot.list?.runs.length ?? 0
    try {
      const page = await this.#read({ limit: Math.min(Math.max(known, HEAD), MOST) }, signal)
      if (signal.aborted) return false
      const list = withHead(this.#snapshot.list, page, this.query)
      this.#publish({ list, problem: null })
      return true
    } catch (cause) {
      if (!signal.aborted) this.#publish({ problem: messageOf(cause) })
      return false
    }
  }

  #read(page: Pick<RunQuery, 'limit' | 'cursor'>, signal?: AbortSignal) {
    return answerOf(client().runs.list({ ...this.query, ...page }, { signal }))
  }

  #publish(changes: Partial<ListSnapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...changes }
    for (const listener of this.#listeners) listener()
  }
}

const KEPT = 8
const kept = new Map<string, RunListStore>()

/** The list for a query, as it was left: somebody may come back to it. */
export function listFor(query: RunQuery): RunListStore {
  const name = JSON.stringify(query)
  const store = kept.get(name) ?? new RunListStore(query)
  kept.delete(name)
  kept.set(name, store)
  for (const old of [...kept.keys()].slice(0, -KEPT)) kept.delete(old)
  return store
}
