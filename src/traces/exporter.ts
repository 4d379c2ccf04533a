import { readFile } from 'node:fs/promises'
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer'
import { err, ok, type Result } from 'neverthrow'
import { keepRunning, type PauseBoundsMs, sleep } from '../lib/backoff.ts'
import { jsonOr } from '../lib/json.ts'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import { writeDurably } from '../lib/write-durably.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import { LogPlace, lookFor, placeOf } from '../log/stream-pages.ts'
import type { EventStore, Position, RecordedEvent } from '../store/event-store.ts'
import { type Span, SpanMaker } from './spans.ts'

type Deps = {
  readonly store: EventStore
  readonly log: Logger
  /** `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly endpoint: string
  /** Where the cursor is kept: the place of the last record whose span the collector has, or that has none. */
  readonly file: string
  /** Whether a stream is that of a run that was removed. */
  readonly isGone?: (stream: string) => boolean
  readonly retryMs?: PauseBoundsMs
}

/** The most spans of one request, and how long spans of runs at work are gathered. */
const BATCH_SPANS = 512
const GATHER_MS = 1_000
const ANSWER_WITHIN_MS = 10_000
/** A request under way gets this long when the server stops, so that its spans are not sent again. */
const STOP_WITHIN_MS = 2_000
const RETRY_MS: PauseBoundsMs = [1_000, 60_000]

/**
 * Sends the spans of all runs to a collector, from the beginning of the log on. The log is the queue: what the collector has not
 * accepted is read again later, and nothing but one request is kept in memory.
 */
export function startTraces(deps: Deps): { stop(): Promise<void> } {
  const stop = new AbortController()
  const giveUp = new AbortController()
  const loop = async (): Promise<void> => {
    const done = await follow(deps, stop.signal, giveUp.signal)
    if (done.isErr()) throw new Error(done.error)
  }
  const { retryMs = RETRY_MS } = deps
  const onFailure = (cause: unknown): void =>
    deps.log.warn(
      { error: messageOf(cause) },
      'traces cannot be exported now; they wait in the log',
    )
  const ended = keepRunning(loop, { signal: stop.signal, retryMs, onFailure })
  return {
    stop: () => {
      stop.abort()
      setTimeout(() => giveUp.abort(), STOP_WITHIN_MS).unref()
      return ended
    },
  }
}

/** Exports from the cursor on, until something fails. The error is a text for people. */
async function follow(
  { store, log, endpoint, file, isGone }: Deps,
  signal: AbortSignal,
  giveUp: AbortSignal,
): Promise<Result<void, string>> {
  const after = await readCursor(file, store, isGone)
  if (after.isErr()) return err(after.error)
  const maker = new SpanMaker(store)
  let spans: Span[] = []
  const flush = async (last: RecordedEvent): Promise<Result<void, string>> => {
    const sent = await send(spans, endpoint, log, giveUp)
    if (sent.isErr()) return sent
    await writeDurably(file, JSON.stringify(placeOf(last)))
    spans = []
    return ok()
  }
  let last: RecordedEvent | null = null
  let isLive = false
  const options = { after: after.value, prefix: RUN_STREAM_PREFIX, signal }
  for await (const item of store.subscribeAll(options)) {
    // The store that answers next may hold another log.
    if (item.type === 'interrupted') return ok()
    if (item.type === 'caught_up') isLive = true
    for (const event of item.type === 'events' ? item.events : []) {
      const span = await maker.spanOf(event)
      if (span.isErr()) return err(span.error.type)
      if (span.value !== null) spans.push(span.value)
      last = event
      if (spans.length < BATCH_SPANS) continue
      const flushed = await flush(last)
      if (flushed.isErr()) return flushed
    }
    if (!isLive || spans.length === 0 || last === null) continue
    const flushed = await flush(last)
    if (flushed.isErr()) return flushed
    await sleep(GATHER_MS, signal)
  }
  return ok()
}

/** Null: from the beginning, because there is no cursor, or it is of another log, or of one that was restored. */
async function readCursor(
  file: string,
  store: EventStore,
  isGone: Deps['isGone'],
): Promise<Result<Position | null, string>> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const { data: cursor } = LogPlace.safeParse(jsonOr(text, null))
  if (cursor === undefined) return ok(null)
  const found = await lookFor(store, cursor)
  if (found.isErr()) return err(found.error.message)
  // What followed the record of a run that was removed still follows its position.
  return ok(isGone?.(cursor.stream) || found.value === 'there' ? cursor.position : null)
}

/** Statuses of a collector that will never accept these spans: OTLP says that they are dropped. */
const HOPELESS = new Set([400, 413])

async function send(
  spans: Span[],
  endpoint: string,
  log: Logger,
  giveUp: AbortSignal,
): Promise<Result<void, string>> {
  const answer = await fetch(`${endpoint.replace(/\/+$/, '')}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: ProtobufTraceSerializer.serializeRequest(spans) ?? null,
    signal: AbortSignal.any([giveUp, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
  })
  const body = new Uint8Array(await answer.arrayBuffer())
  const { status } = answer
  if (HOPELESS.has(status)) {
    log.error({ status, spans: spans.length }, 'the collector refuses spans, which are left out')
    return ok()
  }
  if (!answer.ok) return err(`the collector answers ${status}`)
  const { partialSuccess } = ProtobufTraceSerializer.deserializeResponse(body)
  if (partialSuccess?.rejectedSpans) {
    log.warn({ rejected: partialSuccess.rejectedSpans }, 'the collector has rejected spans')
  }
  return ok()
}
