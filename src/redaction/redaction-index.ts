import { err, type ResultAsync } from 'neverthrow'
import { foldStream } from '../log/decider.ts'
import { withoutStrings } from '../log/remainder.ts'
import { runIdOf } from '../log/run-log.ts'
import type { LogPages } from '../log/stream-pages.ts'
import type { EventStore, RecordedEvent, StoreFailure } from '../store/event-store.ts'
import { type LoggedRedaction, REDACTIONS, redactionsOf } from './redaction-ledger.ts'

type OfRun = {
  readonly redactions: LoggedRedaction[]
  readonly pointers: Map<number, Set<string>>
}

/** The redactions of a log that nobody follows here. */
export function redactionIndexOf(
  reader: Pick<EventStore, 'readStream'>,
): ResultAsync<RedactionIndex, StoreFailure> {
  return foldStream(reader, REDACTIONS)
    .map(({ state }) => new RedactionIndex(redactionsOf(state)))
    .mapErr((error): StoreFailure => {
      if (error.type === 'store_unavailable') return error
      return { type: 'store_failed', message: `what was redacted cannot be read (${error.type})` }
    })
}

/** Which strings were taken out of which records, and events without them. */
export class RedactionIndex {
  readonly #runs = new Map<string, OfRun>()

  constructor(redactions: Iterable<LoggedRedaction> = []) {
    for (const redaction of redactions) this.add(redaction)
  }

  add(redaction: LoggedRedaction): void {
    const { run_id, seq, redacted } = redaction.record.payload
    const run: OfRun = this.#runs.get(run_id) ?? { redactions: [], pointers: new Map() }
    this.#runs.set(run_id, run)
    run.redactions.push(redaction)
    const pointers = run.pointers.get(seq) ?? new Set<string>()
    run.pointers.set(seq, pointers)
    for (const pointer of Object.keys(redacted)) pointers.add(pointer)
  }

  /** Oldest first. */
  ofRun(runId: string): readonly LoggedRedaction[] {
    return this.#runs.get(runId)?.redactions ?? []
  }

  /** The event without what was taken out of it, whether or not its store still has that. */
  apply(event: RecordedEvent): RecordedEvent {
    if (this.#runs.size === 0) return event
    const run = this.#runs.get(runIdOf(event.stream))
    const pointers = run?.pointers.get(event.revision)
    if (pointers === undefined) return event
    try {
      return withoutStrings(event, pointers).event
    } catch {
      // It is no record of ours, and so is never served as one.
      return event
    }
  }
}

/** The log without what was taken out of it, also where its store still has that. */
export async function* withoutRedacted(
  pages: LogPages,
  reader: Pick<EventStore, 'readStream'>,
): LogPages {
  const index = await redactionIndexOf(reader)
  if (index.isErr()) {
    yield err(index.error)
    return
  }
  for await (const page of pages) {
    yield page.map((events) => events.map((event) => index.value.apply(event)))
  }
}
