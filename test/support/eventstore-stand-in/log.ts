import { EventEmitter } from 'node:events'

/** The revision of a tombstone, and the `$tb` of a deleted stream: the largest revision. */
const NO_MORE = 0x7fffffffffffffffn

export type ProposedEvent = {
  readonly id: string
  readonly type: string
  readonly contentType: string
  readonly data: Uint8Array
  readonly metadata: Uint8Array
}

export type LoggedEvent = ProposedEvent & {
  readonly stream: string
  readonly revision: bigint
  readonly position: bigint
  /** 100 ns since the epoch. */
  readonly created: bigint
}

export type Expected = bigint | 'no_stream' | 'any'
export type AppendOutcome =
  | { readonly type: 'appended'; readonly revision: bigint; readonly position: bigint }
  | { readonly type: 'wrong_expected_version'; readonly current: bigint | null }
  | { readonly type: 'stream_deleted' }

type Stream = {
  readonly events: LoggedEvent[]
  /** Revisions below this can no longer be read. */
  truncateBefore: bigint
  /** Only so many of the last events can be read; null for all. */
  maxCount: bigint | null
  tombstoned: boolean
}

/** What is stored, and the rules of appends, as far as the tests need them. */
export class Log {
  readonly all: LoggedEvent[] = []
  readonly #streams = new Map<string, Stream>()
  readonly #appended = new EventEmitter().setMaxListeners(0)

  /** Calls `listener` after each append, until the returned function is called. */
  onAppended(listener: () => void): () => void {
    this.#appended.on('appended', listener)
    return () => this.#appended.off('appended', listener)
  }

  /** All events that a stream ever had. The list grows. */
  events(name: string): readonly LoggedEvent[] {
    return this.#stream(name).events
  }

  isReadable({ stream, revision }: LoggedEvent): boolean {
    const { events, truncateBefore, maxCount } = this.#stream(stream)
    const isKept = maxCount === null || revision >= BigInt(events.length) - maxCount
    return isKept && revision >= truncateBefore && revision !== NO_MORE
  }

  /** The events of a stream that are not truncated. */
  readable(name: string): readonly LoggedEvent[] {
    const events = this.events(name)
    // Only the first ones can be truncated, and only the last one can be a tombstone.
    const isWhole = [events[0], events.at(-1)].every((end) => end && this.isReadable(end))
    return isWhole ? events : events.filter((event) => this.isReadable(event))
  }

  stateOf(name: string): 'readable' | 'missing' | 'tombstoned' {
    const { events, truncateBefore, tombstoned } = this.#stream(name)
    if (tombstoned) return 'tombstoned'
    return events.length === 0 || truncateBefore === NO_MORE ? 'missing' : 'readable'
  }

  append(name: string, expected: Expected, events: readonly ProposedEvent[]): AppendOutcome {
    const stream = this.#stream(name)
    if (stream.tombstoned) return { type: 'stream_deleted' }
    const again = repeated(stream, expected, events)
    if (again !== null) return placeOf(again)
    const current = currentOf(stream)
    if (!fits(expected, current, stream)) return { type: 'wrong_expected_version', current }
    if (stream.truncateBefore === NO_MORE) stream.truncateBefore = BigInt(stream.events.length)
    for (const event of events) this.#store(name, stream, event, BigInt(stream.events.length))
    if (name.startsWith('$$')) this.#truncate(name.slice(2), events.at(-1))
    this.#appended.emit('appended')
    return placeOf(stream.events.at(-1))
  }

  /** A soft deletion: if something is appended later, the stream exists again, and its revisions continue. */
  delete(name: string): void {
    this.#stream(name).truncateBefore = NO_MORE
  }

  /** Null if it is done. */
  tombstone(
    name: string,
    expected: Expected = 'any',
  ): Exclude<AppendOutcome, { type: 'appended' }> | null {
    const stream = this.#stream(name)
    if (stream.tombstoned) return { type: 'stream_deleted' }
    const current = currentOf(stream)
    if (!fits(expected, current, stream)) return { type: 'wrong_expected_version', current }
    stream.tombstoned = true
    const id = '00000000-0000-4000-8000-000000000000'
    const empty = {
      contentType: 'application/json',
      data: new Uint8Array(),
      metadata: new Uint8Array(),
    }
    this.#store(name, stream, { id, type: '$streamDeleted', ...empty }, NO_MORE)
    this.#appended.emit('appended')
    return null
  }

  /** Replaces this log with a backup or an empty one. Call it only while no client is connected. */
  restore(backup: readonly LoggedEvent[]): void {
    this.all.splice(0, this.all.length, ...backup)
    this.#streams.clear()
    for (const event of backup) {
      this.#stream(event.stream).events.push(event)
      if (event.stream.startsWith('$$')) this.#truncate(event.stream.slice(2), event)
    }
  }

  #stream(name: string): Stream {
    const known = this.#streams.get(name)
    if (known !== undefined) return known
    const stream: Stream = { events: [], truncateBefore: 0n, maxCount: null, tombstoned: false }
    this.#streams.set(name, stream)
    return stream
  }

  #store(name: string, stream: Stream, event: ProposedEvent, revision: bigint): void {
    const end = this.all.at(-1)?.position ?? 0n
    // Not dense, as in a real log.
    const position = end + 100n + BigInt(event.data.length)
    const created = BigInt(Date.now()) * 10_000n
    const logged = { ...event, stream: name, revision, position, created }
    this.all.push(logged)
    stream.events.push(logged)
  }

  #truncate(name: string, metadata: ProposedEvent | undefined): void {
    if (metadata === undefined) return
    const { $tb, $maxCount } = JSON.parse(Buffer.from(metadata.data).toString('utf8'))
    const stream = this.#stream(name)
    if (typeof $tb === 'number') stream.truncateBefore = BigInt($tb)
    stream.maxCount = typeof $maxCount === 'number' ? BigInt($maxCount) : null
  }
}

const placeOf = (last: LoggedEvent | undefined): AppendOutcome => {
  return { type: 'appended', revision: last?.revision ?? 0n, position: last?.position ?? 0n }
}

const currentOf = (stream: Stream): bigint | null => {
  return stream.events.length === 0 ? null : BigInt(stream.events.length - 1)
}

function fits(expected: Expected, current: bigint | null, stream: Stream): boolean {
  if (expected === 'any') return true
  if (expected === 'no_stream') return current === null || stream.truncateBefore === NO_MORE
  return expected === current
}

/** The last event of the same append, if it was made before: the same ids at the same place. */
function repeated(
  stream: Stream,
  expected: Expected,
  events: readonly ProposedEvent[],
): LoggedEvent | null {
  const first = events[0]
  if (first === undefined) return null
  const begin =
    expected === 'any'
      ? stream.events.findIndex((event) => event.id === first.id)
      : Number(expected === 'no_stream' ? 0n : expected + 1n)
  if (begin < 0) return null
  const stored = stream.events.slice(begin, begin + events.length)
  const same = stored.length === events.length && stored.every((e, i) => e.id === events[i]?.id)
  return same ? (stored.at(-1) ?? null) : null
}
