import { err, ok, type Result } from 'neverthrow'
import { within } from '../../lib/within.ts'
import {
  type Adapter,
  type Complaint,
  HttpStatusError,
  type RawReply,
  type ReplyReader,
} from './adapter.ts'
import { type Deadlines, withDeadlines } from './deadline.ts'
import {
  brokenOff,
  type CallInfo,
  noReply,
  reportedFailure,
  statusFailure,
  tooSlow,
  unreachable,
  unusableReply,
} from './failures.ts'
import { eventFrames, type Frames, lineFrames, wholeFrame } from './framing.ts'
import type { ModelFailure, ModelPart } from './model.ts'
import { parseJson } from './reply-parts.ts'
import { holdsProblem } from './reported-problem.ts'
import type { Route } from './routing.ts'

/** More than any reply that can be recorded, including what streams add to it. */
const MAX_RESPONSE_BYTES = 32 * 1024 * 1024
/** How long a connection may stay open after the last message of a reply. */
const DRAIN_MS = 50

export type Received = { readonly reply: RawReply; readonly firstTokenMs: number | null }

type Attempt = {
  readonly adapter: Adapter
  readonly body: object
  readonly route: Route
  readonly reader: ReplyReader
  readonly call: CallInfo
  readonly deadlines: Deadlines
  readonly onPart: (part: ModelPart) => void
}

/** Sends a request once and reads the reply to its end. A reply that is not whole is a failure. */
export async function attempt(
  { adapter, body, route, reader, call, deadlines, onPart }: Attempt,
  signal: AbortSignal,
): Promise<Result<Received, ModelFailure>> {
  const began = performance.now()
  let firstTokenMs: number | null = null
  const observe = (parts: readonly ModelPart[]) => {
    if (parts.length > 0) firstTokenMs ??= Math.round(performance.now() - began)
    for (const part of parts) onPart(part)
  }
  const work = async (abort: AbortSignal, heard: () => void) => {
    const response = await send(adapter, body, route, call, abort)
    if (response.isErr()) return err(response.error)
    heard()
    const input = new Input(response.value, reader, adapter.framing, call)
    const reply = await input.readAll(heard, (parts) => !abort.aborted && observe(parts))
    return reply.map((raw): Received => ({ reply: raw, firstTokenMs }))
  }
  const done = await withDeadlines(signal, deadlines, work)
  if (done.isOk()) return done.value
  switch (done.error.type) {
    case 'aborted':
      return err({ type: 'cancelled' })
    case 'timed_out':
    case 'silent': {
      // An endpoint may keep the connection open after a whole reply, and not say that it was the end.
      const whole = reader.state === 'open' ? null : reader.reply()
      if (whole?.isOk()) return ok({ reply: whole.value, firstTokenMs })
      return err(tooSlow(done.error, call))
    }
    case 'threw':
      throw done.error.cause
  }
}

async function send(
  adapter: Adapter,
  body: object,
  route: Route,
  call: CallInfo,
  signal: AbortSignal,
): Promise<Result<Response, ModelFailure>> {
  try {
    return ok(await adapter.send(body, route, signal))
  } catch (cause) {
    if (!(cause instanceof HttpStatusError)) return err(unreachable(cause, call))
    return err(statusFailure(cause.status, cause.body, cause.headers, call))
  }
}

/** The response of an endpoint, while it is read. */
class Input {
  readonly #response: Response
  readonly #reader: ReplyReader
  readonly #framing: Adapter['framing']
  readonly #call: CallInfo
  #frames: Frames | null = null
  #isWhole = false
  /** The beginning of the response, to quote it. */
  #head = ''
  #messages = 0

  constructor(
    response: Response,
    reader: ReplyReader,
    framing: Adapter['framing'],
    call: CallInfo,
  ) {
    this.#response = response
    this.#reader = reader
    this.#framing = framing
    this.#call = call
  }

  async readAll(
    heard: () => void,
    observe: (parts: readonly ModelPart[]) => unknown,
  ): Promise<Result<RawReply, ModelFailure>> {
    const source = this.#response.body?.getReader()
    let bytes = 0
    try {
      for (;;) {
        const { done, value } = (await source?.read()) ?? { done: true, value: undefined }
        if (done) return this.#atEnd(observe)
        heard()
        bytes += value.byteLength
        if (bytes > MAX_RESPONSE_BYTES)
          return err(unusableReply(`it is too large, ${bytes} bytes`, this.#call))
        for (const frame of this.#framesOf(value).push(value)) {
          const read = this.#take(frame, observe)
          if (read.isErr()) return err(read.error)
        }
        if (this.#reader.state === 'ended') return this.#whole()
      }
    } catch (cause) {
      return err(brokenOff(cause, this.#call))
    } finally {
      void drain(source)
    }
  }

  /** Decides by the first bytes: some endpoints answer a request for a stream with one JSON text. */
  #framesOf(bytes: Uint8Array): Frames {
    if (this.#head.length < 1_000) this.#head += new TextDecoder().decode(bytes)
    if (this.#frames !== null) return this.#frames
    const type = this.#response.headers.get('content-type') ?? ''
    if (this.#framing === 'lines') this.#frames = lineFrames()
    else if (type.includes('event-stream') || /^\s*(data|event|id|retry)?:/.test(this.#head)) {
      this.#frames = eventFrames()
    } else {
      this.#isWhole = true
      this.#frames = wholeFrame()
    }
    return this.#frames
  }

  #take(frame: string, observe: (parts: readonly ModelPart[]) => unknown, isWhole = false) {
    if (frame.trim() === '') return ok(undefined)
    const json = frame.trim() === '[DONE]' ? ok<unknown, 'not_json'>('[DONE]') : parseJson(frame)
    if (json.isErr()) return err(noReply(frame, this.#call))
    this.#messages += 1
    if (holdsProblem(json.value)) {
      return err(reportedFailure(json.value, this.#response.headers, this.#call))
    }
    const parts = isWhole ? this.#reader.readWhole(json.value) : this.#reader.read(json.value)
    return parts.map(observe).mapErr((complaint) => this.#failure(complaint))
  }

  #whole(): Result<RawReply, ModelFailure> {
    return this.#reader.reply().mapErr((complaint) => this.#failure(complaint))
  }

  #failure(complaint: Complaint): ModelFailure {
    return complaint.type === 'invalid'
      ? unusableReply(complaint.what, this.#call)
      : reportedFailure(complaint.body, this.#response.headers, this.#call)
  }

  #atEnd(observe: (parts: readonly ModelPart[]) => unknown): Result<RawReply, ModelFailure> {
    const rest = this.#frames?.rest().trim() ?? ''
    // JSON shows by itself whether it is whole, so the last message needs no empty line after it.
    if (rest !== '' && (rest === '[DONE]' || parseJson(rest).isOk())) {
      const read = this.#take(rest, observe, this.#isWhole)
      if (read.isErr()) return err(read.error)
    }
    if (this.#reader.state !== 'open') return this.#whole()
    if (this.#messages > 0) return err(brokenOff(new Error('it ended too early'), this.#call))
    return err(noReply(this.#head.trim() || 'it is empty', this.#call))
  }
}

/** Reads to the end, so that the connection can be used again; closes it if the end does not come. */
async function drain(source: ReadableStreamDefaultReader<Uint8Array> | undefined): Promise<void> {
  if (source === undefined) return
  const rest = async () => {
    while (!(await source.read()).done);
  }
  try {
    await within(DRAIN_MS, rest(), () => {})
    await source.cancel()
  } catch {
    // The reply is here, or its failure is known.
  }
}
