import { useEffect, useMemo, useSyncExternalStore } from 'react'
import {
  HistoryError,
  type Part,
  type PartsEnd,
  type PartText,
  partsAfter,
} from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { messageOf } from '../api/problem.ts'
import { EMPTY_VIEW, extend, type RunView } from './run-view.ts'
import type { SeqRecord } from './seq-record.ts'

/** The state of the connection to a run. */
export type Connection =
  | { readonly type: 'connecting' }
  | { readonly type: 'open' }
  /** Lost; the client reconnects. */
  | { readonly type: 'lost' }
  /** The run has ended and all of it has arrived. */
  | { readonly type: 'complete' }
  /** The client cannot continue. */
  | { readonly type: 'refused'; readonly message: string }

const STATES = { connecting: 'connecting', live: 'open', reconnecting: 'lost' } as const

type RunSnapshot = {
  readonly view: RunView
  /** What is being written. Its records replace it in the same moment. */
  readonly parts: readonly PartText[]
  readonly connection: Connection
}

/** Records are collected for this long, so that thousands of them cause few renderings, milliseconds. */
const BATCH_MS = 40
const LARGE_BATCH = 500
const LARGE_BATCH_MS = 120

/** Watches one run while the page shows it. It keeps what it has received, and continues from there. */
class RunStore {
  readonly #runId: string
  readonly #listeners = new Set<() => void>()
  #snapshot: RunSnapshot = {
    view: EMPTY_VIEW,
    parts: [],
    connection: { type: 'connecting' },
  }
  #queue: (SeqRecord | Part | PartsEnd)[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #pause = BATCH_MS
  #watching: AbortController | null = null
  #silent = false

  constructor(runId: string) {
    this.#runId = runId
  }

  readonly getSnapshot = (): RunSnapshot => this.#snapshot

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    if (this.#watching === null && !this.#silent) this.#watch()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#leave()
    }
  }

  /**
   * A browser shows a socket as open long after the network is gone. So while other requests get no answer, the run is
   * not watched, and the watch begins again with the next answer.
   */
  setSilent(silent: boolean): void {
    this.#silent = silent
    const { type } = this.#snapshot.connection
    if (silent && (type === 'open' || type === 'lost')) {
      this.#leave()
      this.#publish({ ...this.#snapshot, connection: { type: 'lost' } })
    }
    if (!silent && this.#watching === null && this.#listeners.size > 0) this.#watch()
  }

  /** Watches over another connection, because this one brings nothing any more. */
  restart(): void {
    this.#leave()
    this.#publish({ ...this.#snapshot, connection: { type: 'lost' } })
    if (!this.#silent && this.#listeners.size > 0) this.#watch()
  }

  #watch(): void {
    const watching = new AbortController()
    this.#watching = watching
    if (this.#snapshot.connection.type === 'complete') return
    this.#follow(watching.signal).then(
      (connection) => this.#tell(connection, watching.signal),
      (cause: unknown) =>
        this.#tell({ type: 'refused', message: messageOf(cause) }, watching.signal),
    )
  }

  async #follow(signal: AbortSignal): Promise<Connection> {
    await this.#catchUp(signal)
    const events = client().watch(this.#runId, {
      ...this.#wanted(signal),
      live: true,
      onState: (state) => {
        const wasLost = this.#snapshot.connection.type === 'lost'
        if (state === 'closed' || (state === 'connecting' && wasLost)) return
        this.#tell({ type: STATES[state] }, signal)
      },
    })
    for await (const event of events) this.#take(event)
    return { type: 'complete' }
  }

  /** A long history comes several times faster as one answer than as many messages. */
  async #catchUp(signal: AbortSignal): Promise<void> {
    try {
      for await (const event of client().history.events(this.#runId, this.#wanted(signal))) {
        this.#take(event)
      }
    } catch (cause) {
      // The watch meets the same problem, and handles it.
      if (!(cause instanceof HistoryError)) throw cause
    }
    this.#flush()
  }

  #wanted(signal: AbortSignal) {
    const after = this.#snapshot.view.records.length - 1
    return { after, kinds: 'all', meta: true, signal } as const
  }

  #take(event: SeqRecord | Part | PartsEnd): void {
    this.#queue.push(event)
    this.#timer ??= setTimeout(() => this.#flush(), this.#pause)
  }

  #tell(connection: Connection, signal: AbortSignal): void {
    if (signal.aborted) return
    // Records that came before the news are shown first.
    this.#flush()
    this.#publish({ ...this.#snapshot, connection })
  }

  #leave(): void {
    this.#flush()
    this.#watching?.abort()
    this.#watching = null
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const queue = this.#queue
    this.#queue = []
    this.#pause = queue.length >= LARGE_BATCH ? LARGE_BATCH_MS : BATCH_MS
    if (queue.length === 0) return
    const { view, parts } = this.#snapshot
    const records = queue.filter((each) => each.kind !== 'part' && each.kind !== 'parts_end')
    this.#publish({
      ...this.#snapshot,
      view: records.length === 0 ? view : extend(view, records),
      parts: queue.reduce(partsAfter, parts),
    })
  }

  #publish(snapshot: RunSnapshot): void {
    this.#snapshot = snapshot
    for (const listener of this.#listeners) listener()
  }
}

/** A record that the server has for this long does not come any more, milliseconds. */
const BEHIND_MS = 6_000

/** What other requests say of the server: whether it answers nothing now, and the seq of its last record. */
type Told = { readonly silent: boolean; readonly head: number | null }

/** The records of a run that have arrived; watches the run while the component is mounted. */
export function useRun(runId: string, { silent, head }: Told): RunSnapshot {
  const store = useMemo(() => new RunStore(runId), [runId])
  const snapshot = useSyncExternalStore(store.subscribe, store.getSnapshot)
  const received = snapshot.view.records.length - 1
  const { type } = snapshot.connection
  // After the end of a run, people may still do something with its files.
  const isBehind = (type === 'open' || type === 'complete') && head !== null && received < head
  useEffect(() => store.setSilent(silent), [store, silent])
  // biome-ignore lint/correctness/useExhaustiveDependencies: with each record that arrives, the time begins again
  useEffect(() => {
    if (!isBehind) return
    const timer = setTimeout(() => store.restart(), type === 'open' ? BEHIND_MS : 0)
    return () => clearTimeout(timer)
  }, [store, isBehind, received])
  return snapshot
}
