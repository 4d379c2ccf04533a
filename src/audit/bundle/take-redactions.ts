import { randomUUID } from 'node:crypto'
import { ok, type ResultAsync } from 'neverthrow'
import { decideAndAppend } from '../../log/decider.ts'
import type { LoadError } from '../../log/run-log.ts'
import {
  type LoggedRedaction,
  REDACTIONS,
  type Redaction,
  type RedactionChain,
  redactionsOf,
} from '../../redaction/redaction-ledger.ts'
import type { AppendError, EventStore } from '../../store/event-store.ts'

type TakeError = AppendError | LoadError

/** Records the redactions of an export in a log, each once, and names the entries by which they were done. */
export function takeRedactions(
  { store, now }: { readonly store: EventStore; readonly now: () => number },
  redactions: readonly LoggedRedaction[],
): ResultAsync<void, TakeError> {
  const missing = (chain: RedactionChain) => {
    const known = new Set(redactionsOf(chain).flatMap(hashesOf))
    const fresh = redactions.filter(
      (redaction) => !hashesOf(redaction).some((hash) => known.has(hash)),
    )
    return ok(fresh.map((redaction) => taken(redaction, now())))
  }
  return decideAndAppend(store, REDACTIONS, missing, { commandId: randomUUID() }).map(
    () => undefined,
  )
}

/** Of the entry itself, and of the one by which it was done first. */
const hashesOf = ({ record, meta }: LoggedRedaction): string[] => [
  meta.hash,
  ...(record.payload.origin === undefined ? [] : [record.payload.origin.hash]),
]

function taken({ record, meta }: LoggedRedaction, ts: number): Redaction {
  const { principal } = meta
  const {
    origin = { hash: meta.hash, ts: record.ts, ...(principal === undefined ? {} : { principal }) },
  } = record.payload
  return { ...record, ts, payload: { ...record.payload, origin } }
}
