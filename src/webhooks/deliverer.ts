import type { TestedWebhook, WebhookView } from '../api/webhooks.ts'
import { keepRunning } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { Signal } from '../lib/signal.ts'
import { decode } from '../log/codec.ts'
import { cursorOf, positionOf, recordIn, runOf } from '../log/feed-cursor.ts'
import { RUN_STREAM_PREFIX, statusAt } from '../log/run-log.ts'
import type { EventStore, Position, RecordedEvent } from '../store/event-store.ts'
import { Backlog, type Begun } from './backlog.ts'
import type { DeliveryBook, Due } from './delivery-book.ts'
import type { Webhook } from './ledger.ts'
import { type Endpoint, messageId, type Send } from './send.ts'

/** A delivery that is not received for this long stops its webhook. */
const GIVE_UP_S = 72 * 3600
/** Events after which a cursor is noted although none of them is delivered. */
const NOTED_EVENTS = 1000
/** Timers cannot wait longer than some weeks. */
const LONGEST_WAIT_MS = 3_600_000

type DelivererDeps = {
  readonly store: Pick<EventStore, 'readStream' | 'subscribeAll'>
  readonly book: DeliveryBook
  readonly send: Send
  /** Whether a webhook wants the records of a run. Rejects while the log cannot be read. */
  readonly wants: (webhook: Webhook, runId: string) => Promise<boolean>
  /** Whether a stream is that of a run that was removed. */
  readonly isGone: (stream: string) => boolean
  /** Records that a webhook has stopped. Rejects if that cannot be recorded now. */
  readonly stop: (webhook: string, reason: string) => Promise<void>
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Logger
}

/** After which record to read. Records before `since`, in seconds since the epoch, are left out. */
type Place = { readonly after: Position | null; readonly since: number }

/** Follows the log for one webhook, and delivers what it wants. */
export class Deliverer {
  readonly #deps: DelivererDeps
  readonly #endpoint: Endpoint
  readonly #ending = new AbortController()
  readonly #ended: Promise<void>
  readonly #changed = new Signal()
  #webhook: Webhook
  #backlog: Backlog
  #cursor: string | null
  /** Of the record that the cursor names; undefined if an earlier version noted the cursor. */
  #position: Position | undefined

  constructor(webhook: Webhook, endpoint: Endpoint, deps: DelivererDeps) {
    this.#deps = deps
    this.#endpoint = endpoint
    this.#webhook = webhook
    this.#backlog = new Backlog(deps.book, webhook.id)
    const [noted, position] = deps.book.progress(webhook.id)?.cursor?.split(' ') ?? []
    this.#cursor = noted ?? webhook.from
    this.#position = position
    this.#ended = keepRunning(() => this.#round(), {
      signal: this.#ending.signal,
      retryMs: [100, 5_000],
      onFailure: (err) => {
        const message = 'the deliveries of a webhook are interrupted; retrying'
        deps.log.warn({ err, webhook: webhook.id }, message)
      },
    })
  }

  async close(): Promise<void> {
    this.#ending.abort()
    await this.#ended
  }

  /** Takes over what the ledger says of it now. */
  update(webhook: Webhook): void {
    this.#webhook = webhook
    this.#changed.notify()
  }

  /** Tries all that is held again at once, as if it had not been tried. */
  retry(): void {
    this.#backlog.release(true)
    this.#changed.notify()
  }

  view(): WebhookView {
    const { id, kinds, run, created_at, created_by, stopped } = this.#webhook
    const { delivered = 0, last_error = null } = this.#deps.book.progress(id) ?? {}
    const { nextTry, pending } = this.#backlog
    const next = stopped === null && nextTry !== null ? Math.max(nextTry, this.#deps.clock()) : null
    return {
      id,
      url: this.#endpoint.url,
      kinds,
      run,
      created_by,
      delivered,
      pending,
      state: stopped !== null ? 'stopped' : nextTry !== null ? 'retrying' : 'active',
      cursor: this.#cursor,
      last_error: stopped ?? (nextTry === null ? null : last_error),
      next_try: next === null ? null : isoTime(next),
      created_at: isoTime(created_at),
    }
  }

  /** Sends a delivery that is about no record. */
  test(): Promise<TestedWebhook> {
    const { clock, send } = this.#deps
    const id = messageId('test', this.#webhook.id, performance.now(), clock())
    const body = { type: 'webhook_test', timestamp: isoTime(clock()), data: {} }
    return send(this.#endpoint, id, JSON.stringify(body), this.#ending.signal)
  }

  /** Reads and delivers, until one of the two fails, or the store was lost for a moment. */
  async #round(): Promise<void> {
    const round = new AbortController()
    const signal = AbortSignal.any([this.#ending.signal, round.signal])
    const end = (cause: unknown): void => round.abort(cause)
    const place = await this.#place()
    this.#backlog = new Backlog(this.#deps.book, this.#webhook.id)
    const parts = [this.#read(place, signal), this.#deliver(signal, end)]
    await Promise.all(parts.map((part) => part.then(() => end(null), end)))
    if (round.signal.reason !== null) throw round.signal.reason
  }

  async #read({ after, since }: Place, signal: AbortSignal): Promise<void> {
    const { store } = this.#deps
    let unnoted = 0
    for await (const item of store.subscribeAll({ after, prefix: RUN_STREAM_PREFIX, signal })) {
      // The store that answers next may hold another log.
      if (item.type === 'interrupted') return
      if (item.type !== 'events') continue
      const due = await this.#dueIn(item.events, since)
      const last = item.events.findLast(({ stream }) => runOf(stream) !== null)
      if (last === undefined) continue
      const cursor = cursorOf(runOf(last.stream) ?? '', last)
      unnoted += item.events.length
      if (due.length > 0 || unnoted >= NOTED_EVENTS) {
        this.#backlog.add(`${cursor} ${last.position}`, due)
        unnoted = 0
      }
      // Only now: if that fails, the next round reads the same again.
      this.#cursor = cursor
      this.#position = last.position
      this.#changed.notify()
    }
  }

  async #dueIn(events: readonly RecordedEvent[], since: number): Promise<readonly Due[]> {
    const { wants, log } = this.#deps
    const webhook = this.#webhook
    const kinds = new Set<string>(webhook.kinds)
    const due: Due[] = []
    for (const event of events) {
      const run_id = kinds.has(event.type) ? runOf(event.stream) : null
      if (run_id === null || !(await wants(webhook, run_id))) continue
      const logged = decode(event)
      if (logged.isErr()) log.error({ ...logged.error }, 'a webhook leaves out a damaged record')
      else if (logged.value.record.ts >= since) {
        const { seq, meta, record } = logged.value
        due.push({ run_id, seq, hash: meta.hash, kind: record.kind, ts: record.ts })
      }
    }
    return due
  }

  /** Where to read on. If that is not in the log any more, the records since the creation of the webhook are due again. */
  async #place(): Promise<Place> {
    const { store, book, log, isGone } = this.#deps
    const { id, from, created_at } = this.#webhook
    // What followed the record of a run that was removed still follows its position.
    const { stream = '' } = recordIn(this.#cursor ?? '') ?? {}
    if (this.#position !== undefined && isGone(stream)) return { after: this.#position, since: 0 }
    for (const cursor of new Set([this.#cursor, from])) {
      if (cursor === null) break
      const found = await positionOf(cursor, store)
      if (found.isOk()) return { after: found.value, since: 0 }
      const { error } = found
      if (error.type !== 'unknown_cursor') throw new Error(error.message)
      log.warn({ webhook: id, cursor }, 'a webhook begins again: its place is not in the log')
      book.forget(id)
    }
    return { after: null, since: from === null ? 0 : created_at }
  }

  async #deliver(signal: AbortSignal, end: (cause: unknown) => void): Promise<void> {
    const { clock } = this.#deps
    const trying = new Set<Promise<void>>()
    while (!signal.aborted) {
      const seen = this.#changed.count
      const isStopped = this.#webhook.stopped !== null
      const begun = isStopped ? null : this.#backlog.begin(clock())
      if (begun !== null) {
        const attempt = this.#try(begun, signal)
          .catch(end)
          .finally(() => {
            trying.delete(attempt)
            this.#changed.notify()
          })
        trying.add(attempt)
        continue
      }
      const waitMs = isStopped ? Infinity : this.#backlog.waitFrom(clock()) * 1000
      const wake = () => this.#changed.notify()
      const timer = setTimeout(wake, Math.ceil(Math.min(waitMs, LONGEST_WAIT_MS)))
      await this.#changed.wait(signal, seen)
      clearTimeout(timer)
    }
    await Promise.all(trying)
  }

  /** Rejects if the log cannot be read, or nothing can be noted. */
  async #try({ runId, attempt }: Begun, signal: AbortSignal): Promise<void> {
    const { book, send, stop, clock } = this.#deps
    const { id } = this.#webhook
    const backlog = this.#backlog
    const { n, due } = book.first(id, runId)
    const { run_id, seq, hash, kind } = due
    const data = { run_id, seq, hash, status: await this.#statusOf(due) }
    const body = JSON.stringify({ type: kind, timestamp: isoTime(due.ts), data })
    const webhook_id = messageId(id, run_id, seq, hash)
    const at = isoTime(clock())
    const { answer: _, ...answered } = await send(this.#endpoint, webhook_id, body, signal)
    const { status, error } = answered
    // A server that stops has ended it.
    if (error !== null && signal.aborted) return
    const delivery = { webhook_id, run_id, seq, kind, attempt, at, ...answered }
    if (error === null) return backlog.received(n, delivery)
    const since = backlog.refused(delivery, clock())
    if (status === 410) await stop(id, 'It answered 410: it wants no more.')
    else if (clock() - since > GIVE_UP_S) {
      await stop(id, `A delivery was not received for 72 hours. ${error}`)
    }
  }

  /** The status of the run after a record; null if a record before it is damaged. */
  async #statusOf({ run_id, seq }: Due): Promise<string | null> {
    const status = await statusAt(this.#deps.store, run_id, seq)
    if (status.isOk()) return status.value
    const { error } = status
    if (error.type === 'stream_not_found') return 'removed'
    if (error.type === 'damaged_record') return null
    throw new Error(error.message)
  }
}

/** @param seconds since the epoch */
const isoTime = (seconds: number): string => new Date(seconds * 1000).toISOString()
