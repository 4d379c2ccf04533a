import { errAsync, okAsync, type ResultAsync } from 'neverthrow'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import { type Logged, redactStrings } from '../log/codec.ts'
import { foldStream, type StreamDefinition } from '../log/decider.ts'
import { artifactOfStream, runIdOf } from '../log/run-log.ts'
import type { LogPages } from '../log/stream-pages.ts'
import {
  type EventStore,
  type RecordedEvent,
  type StoreFailure,
  type Subscription,
  storeWith,
} from '../store/event-store.ts'
import { REDACTION_STREAM, Redaction } from './redaction.ts'

export type LoggedRedaction = Logged<Redaction>

/** The redactions of all runs of a log, oldest first. */
export const REDACTIONS: StreamDefinition<Redaction, readonly LoggedRedaction[]> = {
  stream: REDACTION_STREAM,
  schema: Redaction,
  initial: [],
  evolve: (before, last) => [...before, last],
}

/** The artifact that a redaction removes. */
export const removedBy = ({ record: { payload } }: LoggedRedaction): string | undefined =>
  payload.absent ? undefined : payload.artifact

type OfRun = {
  readonly redactions: LoggedRedaction[]
  readonly pointers: Map<number, Set<string>>
}

/** The redactions of a log, for a process that does not follow it. */
export function redactionIndexOf(
  reader: Pick<EventStore, 'readStream'>,
): ResultAsync<RedactionIndex, StoreFailure> {
  return foldStream(reader, REDACTIONS)
    .map(({ state }) => new RedactionIndex(state))
    .mapErr((error): StoreFailure => {
      if (error.type === 'store_unavailable') return error
      return { type: 'store_failed', message: `the redactions cannot be read (${error.type})` }
    })
}

/** Knows which strings of which records are redacted, and redacts them in events. */
export class RedactionIndex {
  readonly #runs = new Map<string, OfRun>()
  readonly #artifacts = new Set<string>()
  /** What is left of packs: redactions and imports name it. */
  readonly #rests = new Map<string, string[]>()
  readonly #objects = new Set<string>()

  constructor(redactions: Iterable<LoggedRedaction> = []) {
    for (const redaction of redactions) this.add(redaction)
  }

  add(redaction: LoggedRedaction): void {
    const { run_id, seq, redacted, artifact, objects = [], replaced_by } = redaction.record.payload
    const removed = removedBy(redaction)
    if (removed !== undefined) this.#artifacts.add(removed)
    if (artifact !== undefined && replaced_by !== undefined) {
      this.#rests.set(artifact, [...(this.#rests.get(artifact) ?? []), replaced_by])
    }
    for (const id of objects) this.#objects.add(id)
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

  /** The objects of snapshots that are removed, by their ids: they are not kept again. */
  get removedObjects(): ReadonlySet<string> {
    return this.#objects
  }

  /** The packs that may hold what is kept of one: itself, or what a redaction or an export left of it. */
  packsOf(sha256: string): readonly string[] {
    const names = new Set([sha256])
    for (const name of names) for (const rest of this.#rests.get(name) ?? []) names.add(rest)
    return [...names].filter((name) => !this.#artifacts.has(name))
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

/** The log without redacted strings and removed streams, even if its store still has them. */
export async function* withoutRedacted(
  pages: LogPages,
  index: RedactionIndex,
  isGone: (stream: string) => boolean,
): LogPages {
  const isKept = ({ stream }: RecordedEvent): boolean => {
    const artifact = artifactOfStream(stream)
    return artifact === null ? !isGone(stream) : !index.hasRedactedArtifact(artifact)
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
  /** Whether a stream was removed, even if the store still has or delivers some of it. */
  isGone?(stream: string): boolean
}

/** Pauses of a subscription until the redactions can be read. */
const RETRY_MS: PauseBoundsMs = [100, 1_000]

/** The store as all but those who erase read it: without redacted strings and removed streams, even if it still has or cannot erase them. */
export function withRedactions(store: EventStore, redactor: Hides): EventStore {
  const apply = (event: RecordedEvent): RecordedEvent => redactor.apply(event)
  // Only the redactor and retention change or delete what is stored.
  const {
    overwrite: _,
    deleteStream: __,
    removeStream: ___,
    ...others
  } = storeWith(store, {
    readStream: (stream, options) =>
      redactor
        .ready()
        .andThen(() =>
          redactor.isGone?.(stream)
            ? errAsync({ type: 'stream_not_found' as const, stream })
            : store.readStream(stream, options),
        )
        .map((events) => events.map(apply)),
    subscribeStream: (stream, options) =>
      applied(() => store.subscribeStream(stream, options), redactor, options.signal),
    subscribeAll: (options) => applied(() => store.subscribeAll(options), redactor, options.signal),
  })
  return others
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
    else {
      const kept = item.events.filter(({ stream }) => redactor.isGone?.(stream) !== true)
      const events = kept.map((event) => redactor.apply(event))
      if (events.length > 0) yield { type: 'events', events }
    }
  }
}
