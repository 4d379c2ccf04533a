import { client } from '../api/client.ts'
import { answerOf, messageOf } from '../api/problem.ts'
import { type RunList, withHead, withOlder } from './run-list.ts'
import type { RunFilter } from './use-filter.ts'

export type ListSnapshot = {
  readonly list: RunList | null
  readonly loadingOlder: boolean
  /** Why the newest attempt to read the list failed. */
  readonly problem: string | null
}

const POLL_MS = 1500
const HEAD = 100
const OLDER = 500

/** One list of runs. Its first page is kept fresh while it is shown, and it grows on request. */
export class RunListStore {
  readonly #filter: RunFilter
  readonly #listeners = new Set<() => void>()
  #snapshot: ListSnapshot = { list: null, loadingOlder: false, problem: null }
  #polling: AbortController | null = null

  constructor(filter: RunFilter) {
    this.#filter = filter
  }

  readonly getSnapshot = (): ListSnapshot => this.#snapshot

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    if (this.#polling === null) {
      this.#polling = new AbortController()
      void this.#poll(this.#polling.signal)
    }
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#polling?.abort()
      this.#polling = null
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

  async #poll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (document.visibilityState === 'visible') await this.#readHead(signal)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  async #readHead(signal: AbortSignal): Promise<void> {
    try {
      const page = await this.#read({ limit: HEAD }, signal)
      if (!signal.aborted) {
        this.#publish({ list: withHead(this.#snapshot.list, page), problem: null })
      }
    } catch (cause) {
      if (!signal.aborted) this.#publish({ problem: messageOf(cause) })
    }
  }

  #read(page: { readonly limit: number; readonly cursor?: string }, signal?: AbortSignal) {
    const { status, goal } = this.#filter
    const query = { ...page, status: status ?? undefined, goal: goal ?? undefined }
    return answerOf(client().runs.list(query, { signal }))
  }

  #publish(changes: Partial<ListSnapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...changes }
    for (const listener of this.#listeners) listener()
  }
}
