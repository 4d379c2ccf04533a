import { type PartFrame, type PartsEnd, recordsParts, replacesParts } from '../../api/frames.ts'
import type { Attempt, AttemptOf, LiveParts, Part, PartsListener } from '../../live/live-parts.ts'
import { type EncodedFrame, type Frame, FrameBuffer, frameSize } from './frame.ts'
import type { Sink } from './sinks.ts'

/** Whose parts an observer gets. */
export type PartsScope = {
  /** Null for all runs. */
  readonly runId: string | null
  /** The last record that it has of this run. If it observes all runs, records before its beginning count as read. */
  readonly after?: number
  readonly wants?: (attempt: AttemptOf) => boolean
}

/** How far an observer has read a run: its last record, and the last one that replaced parts. */
type Place = { readonly seq: number; readonly settled: number }

/** How much may wait for one observer before it gets no more parts. */
const MAX_BACKLOG_BYTES = 64 * 1024

/**
 * What one observer has of the parts under way. It gets a part only between the record before it and the record that
 * replaces it, and nothing before it has read what is stored. For each part, this holds a place, not a queue: a client that
 * reads slowly gets parts later, joined.
 */
export class PartsFollower implements PartsListener {
  readonly runId: string | null
  readonly #live: LiveParts
  readonly #wants: (attempt: AttemptOf) => boolean
  readonly #sink: Sink
  readonly #begunBefore: number
  readonly #places = new Map<string, Place>()
  /** The attempts of which it has something, and up to where in each part. */
  readonly #open = new Map<Attempt, Map<Part, number>>()
  #isHeld = true

  constructor(live: LiveParts, { runId, after, wants = () => true }: PartsScope, sink: Sink) {
    this.runId = runId
    this.#live = live
    this.#wants = wants
    this.#sink = sink
    this.#begunBefore = live.begun
    if (runId !== null && after !== undefined) this.#places.set(runId, { seq: after, settled: -1 })
    live.join(this)
  }

  leave(): void {
    this.#live.leave(this)
  }

  /** To be called when the observer has read what is stored. */
  begin(): void {
    this.#isHeld = false
    this.onParts()
  }

  /** Sends what is new, in order. */
  onParts(): void {
    if (this.#isHeld) return
    this.#isHeld = this.#sink.backlog > MAX_BACKLOG_BYTES
    if (this.#isHeld) void this.#sink.drained().then(() => this.begin())
    else this.#send()
  }

  /** To be called after each record that was sent or left out. Sends what follows the record. */
  passed({ runId, seq, kind }: Frame): void {
    const replaces = replacesParts(kind)
    const settled = replaces ? seq : (this.#places.get(runId)?.settled ?? -1)
    if (kind === 'run_end' && this.runId === null) this.#places.delete(runId)
    else this.#places.set(runId, { seq, settled })
    if (!replaces || this.#open.size === 0) return
    const outcome = recordsParts(kind) ? 'recorded' : 'withdrawn'
    for (const attempt of this.#open.keys()) {
      if (attempt.of.runId === runId && attempt.of.seq < seq) this.#end(attempt, outcome)
    }
  }

  #send(): void {
    this.#sink.cork()
    if (this.#open.size > 0) this.#endOver()
    for (const attempt of this.#live.underWay(this.runId)) {
      if (!this.#mayHave(attempt)) continue
      const sent = this.#open.get(attempt) ?? new Map<Part, number>()
      for (const part of attempt.parts()) {
        const from = sent.get(part)
        if (from !== undefined && from >= part.end) continue
        this.#sink.sendPart(partFrame(attempt.of, part, from ?? 0))
        sent.set(part, part.end)
      }
      if (sent.size > 0) this.#open.set(attempt, sent)
    }
    this.#sink.uncork()
  }

  #mayHave({ of, number }: Attempt): boolean {
    if (!this.#wants(of)) return false
    const place = this.#places.get(of.runId)
    if (place === undefined) return number <= this.#begunBefore
    return place.seq >= of.seq && place.settled <= of.seq
  }

  /** Ends the attempts that no later record would end. */
  #endOver(): void {
    for (const attempt of this.#open.keys()) {
      const { outcome, of } = attempt
      // Without a place, the record that replaces the parts is still to come.
      const read = this.#places.get(of.runId)?.seq ?? -1
      if (outcome === 'withdrawn') this.#end(attempt, 'withdrawn')
      else if (outcome !== null && read >= outcome.recordedUpTo) this.#end(attempt, 'recorded')
    }
  }

  #end(attempt: Attempt, outcome: PartsEnd['outcome']): void {
    this.#open.delete(attempt)
    const { runId: run_id, seq } = attempt.of
    this.#sink.sendPart(encoded({ kind: 'parts_end', run_id, attempt: seq, outcome }))
  }
}

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
    kind: 'part',
    run_id: runId,
    iteration,
    attempt: seq,
    ...part.name,
    offset,
    text,
    partial: true,
  } as PartFrame)
  lastFrames.set(part, { from, end, frame })
  return frame
}

function encoded(frame: PartFrame | PartsEnd): EncodedFrame {
  const json = JSON.stringify(frame)
  const bytes = Buffer.byteLength(json)
  return new FrameBuffer(frameSize(bytes)).add(bytes, (memory, at) => memory.write(json, at))
}
