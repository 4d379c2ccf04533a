import { okAsync, type ResultAsync } from 'neverthrow'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import { artifactOfStream } from '../log/artifact-index.ts'
import { foldStream } from '../log/decider.ts'
import { redactStrings } from '../log/redacted-record.ts'
import { runIdOf } from '../log/run-log.ts'
import type { LogPages } from '../log/stream-pages.ts'
import type { EventStore, RecordedEvent, StoreFailure, Subscription } from '../store/event-store.ts'
import { type LoggedRedaction, REDACTIONS, redactionsOf } from './redaction-ledger.ts'

type OfRun = {
  readonly redactions: LoggedRedaction[]
  readonly pointers: Map<number, Set<string>>
}

/** The redactions of a log, for a process that does not follow it. */
export function redactionIndexOf(
  reader: Pick<EventStore, 'readStream'>,
): ResultAsync<RedactionIndex, StoreFailure> {
  return foldStream(reader, REDACTIONS)
    .map(({ state }) => new RedactionIndex(redactionsOf(state)))
    .mapErr((error): StoreFailure => {
      if (error.type === 'store_unavailable') return error
      return { type: 'store_failed', message: `the redactions cannot be read (${error.type})` }
    })
}

/** Knows which strings of which records are redacted, and redacts them in events. */
export class RedactionIndex {
  readonly #runs = new Map<string, OfRun>()
  readonly #artifacts = new Set<string>()

  constructor(redactions: Iterable<LoggedRedaction> = []) {
    for (const redaction of redactions) this.add(redaction)
  }

  add(redaction: LoggedRedaction): void {
    const { run_id, seq, redacted, artifact } = redaction.record.payload
    if (artifact !== undefined) this.#artifacts.add(artifact)
    const run: OfRun = this.#runs.get(run_id) ?? { redactions: [], pointers: new Map() }
    this.#runs.set(run_id, run)
    run.redactions.push(redaction)
    const pointers = run.pointers.get(seq) ?? new Set<string>()
    run.pointers.set(seq, pointers)
    for (const pointer of Object.keys(redacted)) pointers.add(pointer)
  }

  /** All that it will ever know is known. */
  ready(): ResultAsync<void, never> {
    return okAsync()
  }

  hasRedactedArtifact(sha256: string): boolean {
    return this.#artifacts.has(sha256)
  }

  /** Oldest first. */
  ofRun(runId: string): readonly LoggedRedaction[] {
    return this.#runs.get(runId)?.redactions ?? []
  }

  /** The event without its redacted strings, even if its store still has them. */
  apply(event: RecordedEvent): RecordedEvent {
    if (this.#runs.size === 0) return event
    const run = this.#runs.get(runIdOf(event.stream))
    const pointers = run?.pointers.get(event.revision)
    if (pointers === undefined) return event
    try {
      return redactStrings(event, pointers).event
    } catch {
      // It is not a record of ours, so it is never served as one.
      return event
    }
  }
}

/** The log without redacted strings, even if its store still has them. */
export async function* withoutRedacted(pages: LogPages, index: RedactionIndex): LogPages {
  const isKept = ({ stream }: RecordedEvent): boolean => {
    const artifact = artifactOfStream(stream)
    return artifact === null || !index.hasRedactedArtifact(artifact)
  }
  for await (const page of pages) {
    yield page.map((events) => events.filter(isKept).map((event) => index.apply(event)))
  }
}

/** What hides the text that is redacted. */
type Hides = {
  /** Resolves once all redactions that were recorded before are known. */
  ready(): ResultAsync<void, StoreFailure>
  apply(event: RecordedEvent): RecordedEvent
}

/** Pauses of a subscription until the redactions can be read. */
const RETRY_MS: PauseBoundsMs = [100, 1_000]

/** The store as all but the redactor read it: without redacted strings, even if it still has or cannot erase them. */
export function withRedactions(store: EventStore, redactor: Hides): EventStore {
  const apply = (event: RecordedEvent): RecordedEvent => redactor.apply(event)
  const { keepLatest } = store
  return {
    append: (stream, events, options) => store.append(stream, events, options),
    readStream: (stream, options) =>
      redactor
        .ready()
        .andThen(() => store.readStream(stream, options))
        .map((events) => events.map(apply)),
    subscribeStream: (stream, options) =>
      applied(() => store.subscribeStream(stream, options), redactor, options.signal),
    subscribeAll: (options) => applied(() => store.subscribeAll(options), redactor, options.signal),
    ...(keepLatest && { keepLatest: (...call) => keepLatest.apply(store, call) }),
    ping: () => store.ping(),
    close: () => store.close(),
  }
}

async function* applied(
  subscribe: () => Subscription,
  redactor: Hides,
  signal: AbortSignal,
): Subscription {
  const backoff = new Backoff(RETRY_MS)
  while (!signal.aborted) {
    if ((await redactor.ready()).isOk()) break
    await backoff.wait(signal)
  }
  if (signal.aborted) return
  for await (const item of subscribe()) {
    if (item.type !== 'events') yield item
    else yield { type: 'events', events: item.events.map((event) => redactor.apply(event)) }
  }
}
