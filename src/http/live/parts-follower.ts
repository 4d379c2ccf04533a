import { type PartFrame, type PartsEnd, recordsParts, replacesParts } from '../../api/live-parts.ts'
import type { Kind } from '../../domain/records.ts'
import type { Attempt, AttemptOf, Part } from '../../live/attempt.ts'
import type { LiveParts, PartsListener } from '../../live/live-parts.ts'
import { type EncodedFrame, FrameBuffer, frameSize } from './frame.ts'
import type { SocketWriter } from './socket-writer.ts'

/** Whose parts an observer gets. */
type Scope = {
  /** Null for all runs. */
  readonly runId: string | null
  /** The last record that it has of this run. If it observes all runs, records before its beginning count as read. */
  readonly after?: number
  readonly wants?: (attempt: AttemptOf) => boolean
}

/** How far an observer has read a run: its last record, and the last one that replaced parts. */
type Place = { readonly seq: number; readonly settled: number }

/**
 * What one observer has of the parts under way. It gets a part only between the record before it and the record that
 * replaces it. For each part, it holds a place, not a queue.
 */
export class PartsFollower implements PartsListener {
  readonly runId: string | null
  readonly #live: LiveParts
  readonly #wants: (attempt: AttemptOf) => boolean
  readonly #onNews: () => void
  readonly #begunBefore: number
  readonly #places = new Map<string, Place>()
  /** The attempts of which it has something, and up to where in each part. */
  readonly #open = new Map<Attempt, Map<Part, number>>()

  /** @param onNews is called when `take` may return something. Must not throw */
  constructor(live: LiveParts, { runId, after, wants = () => true }: Scope, onNews: () => void) {
    this.runId = runId
    this.#live = live
    this.#wants = wants
    this.#onNews = onNews
    this.#begunBefore = live.begun
    if (runId !== null && after !== undefined) this.#places.set(runId, { seq: after, settled: -1 })
    live.join(this)
  }

  leave(): void {
    this.#live.leave(this)
  }

  onParts(): void {
    this.#onNews()
  }

  /** To be called after each record that the observer has read. Returns what follows the record. */
  passed(runId: string, seq: number, kind: Kind): readonly EncodedFrame[] {
    const replaces = replacesParts(kind)
    const settled = replaces ? seq : (this.#places.get(runId)?.settled ?? -1)
    if (kind === 'run_end' && this.runId === null) this.#places.delete(runId)
    else this.#places.set(runId, { seq, settled })
    if (!replaces || this.#open.size === 0) return NOTHING
    const outcome = recordsParts(kind) ? 'recorded' : 'withdrawn'
    return [...this.#open.keys()]
      .filter(({ of }) => of.runId === runId && of.seq < seq)
      .map((attempt) => this.#end(attempt, outcome))
  }

  /** What is new, in order. */
  take(): readonly EncodedFrame[] {
    const frames = this.#open.size === 0 ? [] : this.#ended()
    for (const attempt of this.#live.underWay(this.runId)) {
      if (!this.#mayHave(attempt)) continue
      const sent = this.#open.get(attempt) ?? new Map<Part, number>()
      for (const part of attempt.parts()) {
        const from = sent.get(part)
        if (from !== undefined && from >= part.end) continue
        frames.push(partFrame(attempt.of, part, from ?? 0))
        sent.set(part, part.end)
      }
      if (sent.size > 0) this.#open.set(attempt, sent)
    }
    return frames
  }

  #mayHave({ of, number }: Attempt): boolean {
    if (!this.#wants(of)) return false
    const place = this.#places.get(of.runId)
    if (place === undefined) return number <= this.#begunBefore
    return place.seq >= of.seq && place.settled <= of.seq
  }

  /** Ends the attempts that no later record would end. */
  #ended(): EncodedFrame[] {
    const frames: EncodedFrame[] = []
    for (const attempt of [...this.#open.keys()]) {
      const { outcome, of } = attempt
      const read = this.#places.get(of.runId)?.seq ?? Number.POSITIVE_INFINITY
      if (outcome === 'withdrawn') frames.push(this.#end(attempt, 'withdrawn'))
      else if (outcome !== null && read >= outcome.recordedUpTo) {
        frames.push(this.#end(attempt, 'recorded'))
      }
    }
    return frames
  }

  #end(attempt: Attempt, outcome: PartsEnd['outcome']): EncodedFrame {
    this.#open.delete(attempt)
    const { runId: run_id, seq } = attempt.of
    return encoded({ kind: 'parts_end', run_id, attempt: seq, outcome })
  }
}

const NOTHING: readonly EncodedFrame[] = []

/** The last frame of each part: most observers need the same one next. */
const lastFrames = new WeakMap<
  Part,
  { readonly from: number; readonly end: number; readonly frame: EncodedFrame }
>()

function partFrame({ runId, iteration, seq }: AttemptOf, part: Part, from: number): EncodedFrame {
  const { end } = part
  const last = lastFrames.get(part)
  if (last?.from === from && last.end === end) return last.frame
  const { offset, text } = part.from(from)
  const frame = encoded({
    ...{ kind: 'part', run_id: runId, iteration, attempt: seq },
    ...part.name,
    ...{ offset, text, partial: true },
  } as PartFrame)
  lastFrames.set(part, { from, end, frame })
  return frame
}

function encoded(frame: PartFrame | PartsEnd): EncodedFrame {
  const json = JSON.stringify(frame)
  const bytes = Buffer.byteLength(json)
  return new FrameBuffer(frameSize(bytes)).add(bytes, (memory, at) => memory.write(json, at))
}

/** How much may wait for one socket before it gets no more parts. */
const MAX_BACKLOG_BYTES = 64 * 1024

/** Sends parts over a WebSocket. A client that reads slowly gets them later, joined. */
export class PartsSender {
  readonly #follower: PartsFollower
  readonly #writer: SocketWriter
  #isHeld: boolean

  /** An observer of all runs gets nothing before `begin`, which is to be called when it has read what is stored. */
  constructor(live: LiveParts, scope: Scope, writer: SocketWriter) {
    this.#isHeld = scope.runId === null
    this.#writer = writer
    this.#follower = new PartsFollower(live, scope, () => this.send())
  }

  begin(): void {
    this.#isHeld = false
    this.send()
  }

  send(): void {
    if (this.#isHeld) return
    if (this.#writer.backlog <= MAX_BACKLOG_BYTES) {
      this.#write(this.#follower.take())
      return
    }
    this.#isHeld = true
    void this.#writer.drained().then(() => this.begin())
  }

  /** To be called after each record that was sent or left out. */
  passed(runId: string, seq: number, kind: Kind): void {
    for (const frame of this.#follower.passed(runId, seq, kind)) this.#writer.sendFrame(frame)
  }

  leave(): void {
    this.#follower.leave()
  }

  #write(frames: readonly EncodedFrame[]): void {
    if (frames.length === 0) return
    this.#writer.cork()
    for (const frame of frames) this.#writer.sendFrame(frame)
    this.#writer.uncork()
  }
}
