import type { Form } from '../../api/event-query.ts'
import { PROJECTION_WAIT_MS } from '../deps.ts'
import type { Watched } from '../plugins/access-log.ts'
import type { LiveDeps } from './deps.ts'
import { type Frame, refusalFrame } from './frame.ts'
import { PartsFollower } from './parts-follower.ts'
import type { Follower, SharedTopic } from './shared-topic.ts'
import type { Ending, Sink } from './sinks.ts'
import type { View } from './views.ts'

/** What one client reads, and where that is sent. */
export type Observation<Cursor> = {
  readonly view: View<Cursor>
  readonly sink: Sink
  readonly live: LiveDeps
  /** Aborts when nothing more may be sent. */
  readonly signal: AbortSignal
  /** The frame that says that the history is over; null if the client wants none. */
  readonly caughtUp: ((at: Pick<View<unknown>, 'runId' | 'place'>) => object) | null
  readonly watched: Watched
  /** Called with what the observer has thrown. */
  readonly onFailure: (error: unknown) => void
}

/**
 * Sends what one client wants to read: history, then live, in order, each record once, no faster than the client reads.
 * Only this object waits for the next record: while nothing is sent, it holds no promise and no iterator.
 */
export class Observer<Cursor> implements Follower<Cursor> {
  readonly runId: string | null
  readonly form: Form
  isCaughtUp = false
  isOver: boolean
  cursor: Cursor
  /** The last record that was looked at, whether it was selected or not, as the client calls it; null before the first. */
  place: View<Cursor>['place']
  readonly #of: Observation<Cursor>
  readonly #topic: SharedTopic<Cursor>
  readonly #parts: PartsFollower | null
  #tellsCaughtUp: boolean
  #isSending = false
  #last: Frame | null = null

  /** Begins with `wake`. */
  constructor(observation: Observation<Cursor>) {
    const { sink, live, caughtUp, watched } = observation
    const { runId, form, start, place, parts, join, isOver = false } = observation.view
    this.runId = runId
    this.form = form
    this.isOver = isOver
    this.cursor = start
    this.place = place
    this.#of = observation
    this.#tellsCaughtUp = caughtUp !== null
    this.#topic = join(this)
    this.#parts = parts === null ? null : new PartsFollower(live.parts, parts, sink)
    watched.begin()
  }

  onNews(): void {
    this.wake()
  }

  /** Sends what is new. If it is sending already, it looks once more before it stops. */
  wake(): void {
    if (this.#isSending || this.#of.signal.aborted) return
    try {
      const rest = this.#advance()
      if (rest !== null) void this.#continue(rest)
    } catch (error) {
      this.#of.onFailure(error)
    }
  }

  /** To be called when the client has left. */
  closed(): void {
    this.#topic.leave(this)
    this.#parts?.leave()
    this.#of.watched.end()
  }

  /** Null: that is all for now. */
  #advance(): Promise<Ending | null> | null {
    const frames = this.#topic.take(this)
    if (frames === null) return this.#catchUp()
    const rest = frames.length === 0 ? null : this.#send(frames)
    this.#parts?.onParts()
    // What was recorded after the end is sent, too.
    return rest ?? (this.isOver && this.#last !== null ? this.#complete(this.#last) : null)
  }

  async #continue(rest: Promise<Ending | null>): Promise<void> {
    this.#isSending = true
    try {
      for (let next: typeof rest | null = rest; next !== null; next = this.#advance()) {
        const ending = await next
        if (this.#of.signal.aborted) return
        if (ending !== null) return await this.#of.sink.end(ending)
      }
      this.#isSending = false
    } catch (error) {
      this.#of.onFailure(error)
    }
  }

  async #catchUp(): Promise<Ending | null> {
    for await (const page of this.#topic.catchUp(this, this.#of.signal)) {
      const ending = page.length === 0 ? null : await this.#send(page)
      if (ending !== null) return ending
      if (page.length > 0) continue
      this.#reachEnd()
      if (this.isOver && this.#last !== null) return this.#complete(this.#last)
    }
    return null
  }

  /** Everything that was stored is sent. */
  #reachEnd(): void {
    this.#tellCaughtUp()
    this.#parts?.begin()
  }

  #tellCaughtUp(): void {
    const { caughtUp, sink } = this.#of
    if (this.#tellsCaughtUp) sink.sendNotice(Buffer.from(JSON.stringify(caughtUp?.(this))))
    this.#tellsCaughtUp = false
  }

  /** Sends those of the frames that are selected. @param isWanted whether the first one is, if that is known */
  #send(frames: readonly Frame[], start = 0, isWanted?: boolean): Promise<Ending | null> | null {
    const { sink, signal, view } = this.#of
    let known = isWanted
    sink.cork()
    try {
      for (let at = start; at < frames.length; at += 1) {
        const frame = frames[at]
        if (frame === undefined || signal.aborted) return null
        if (sink.full) return this.#later(sink.drained(), () => this.#send(frames, at, known))
        if (frame.damage !== null && this.runId !== null) return this.#damaged(frame)
        const wanted = known ?? view.wants(frame, signal)
        if (typeof wanted !== 'boolean') {
          return this.#later(wanted, (answer) => this.#send(frames, at, answer))
        }
        known = undefined
        this.#pass(frame, wanted)
        this.isOver ||= frame.kind === 'run_end' && this.runId !== null
        this.#last = frame
      }
      return null
    } finally {
      sink.uncork()
    }
  }

  #pass(frame: Frame, isWanted: boolean): void {
    if (isWanted) this.#of.sink.sendRecord(frame)
    this.cursor = this.#topic.cursorOf(frame)
    this.place = frame.place
    if (isWanted || this.runId !== null) this.#of.watched.last = frame.place
    this.#parts?.passed(frame)
  }

  /** Continues after a wait. What was not sent is read again if a text was redacted meanwhile. */
  async #later<T>(
    wait: Promise<T>,
    send: (value: T) => Promise<Ending | null> | null,
  ): Promise<Ending | null> {
    const { forgotten } = this.#topic
    const value = await wait
    return forgotten === this.#topic.forgotten ? send(value) : null
  }

  /** A client that then asks over REST sees the final state, unless the read model lags far behind. */
  async #complete({ runId, seq }: Frame): Promise<Ending> {
    this.#tellCaughtUp()
    await this.#of.live.readModel.waitFor(runId, seq, PROJECTION_WAIT_MS)
    return { type: 'complete', seq, last: null }
  }

  async #damaged({ runId, seq, damage }: Frame): Promise<Ending> {
    const last = refusalFrame(runId, seq - 1, this.#of.live.clock(), damage ?? '')
    return { type: 'damaged', last }
  }
}
