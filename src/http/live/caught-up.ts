import { Backoff } from '../../lib/backoff.ts'
import { streamOf } from '../../log/run-log.ts'
import { eventAt } from '../../log/stream-pages.ts'
import { caughtUpFrame, framesOf, type RunFrame } from './frame.ts'
import type { Live } from './live-plugin.ts'
import type { ServedSocket } from './sockets.ts'

/** The projector may not have read the last record yet. */
const NOT_PROJECTED = -1

/** The last record of the run. Waits while the store has trouble; null if `signal` aborts. */
export async function readHead(
  runId: string,
  signal: AbortSignal,
  { store, limits, log }: Live,
): Promise<RunFrame | 'unknown_run' | null> {
  const backoff = new Backoff(limits.retryMs)
  while (!signal.aborted) {
    const read = await eventAt(store, streamOf(runId), 'end')
    if (read.isOk()) return framesOf([read.value ?? []].flat(), NOT_PROJECTED)[0] ?? 'unknown_run'
    log.warn({ run_id: runId, error: read.error }, 'cannot look up a run to watch, trying again')
    await backoff.wait(signal)
  }
  return null
}

/** Sends one frame as soon as the observer has everything that is stored. */
export class CaughtUpReport {
  readonly #runId: string
  readonly #live: Live
  /** seq of the last record that is known to be stored; null once the frame is sent. */
  #stored: number | null

  constructor(runId: string, stored: number, live: Live) {
    this.#runId = runId
    this.#stored = stored
    this.#live = live
  }

  /** To be called when everything up to the cursor is sent. Sends unless more is stored by now. */
  check(cursor: number, socket: ServedSocket): Promise<null> | null {
    return this.#stored === null || cursor < this.#stored ? null : this.#check(cursor, socket)
  }

  /** To be called if nothing is stored after the cursor. */
  send(cursor: number, { writer }: ServedSocket): void {
    if (this.#stored === null) return
    this.#stored = null
    writer.send(caughtUpFrame(this.#runId, cursor))
  }

  async #check(cursor: number, socket: ServedSocket): Promise<null> {
    const head = await readHead(this.#runId, socket.signal, this.#live)
    if (head === null) return null
    const stored = head === 'unknown_run' ? cursor : head.seq
    if (stored > cursor) this.#stored = stored
    else this.send(cursor, socket)
    return null
  }
}
