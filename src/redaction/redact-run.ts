import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { isFreeText, neededFor } from '../domain/free-text.ts'
import { present } from '../domain/present.ts'
import type { RunRecord } from '../domain/records.ts'
import { decode, type LoggedRecord } from '../log/codec.ts'
import { decideAndAppend } from '../log/decider.ts'
import type { Signing } from '../log/entry-seal.ts'
import { type ByPointer, redactStrings } from '../log/redacted-record.ts'
import { type Author, type LoadError, load, recordPages, streamOf } from '../log/run-log.ts'
import type { AppendError, EventStore, RecordedEvent } from '../store/event-store.ts'
import {
  findElsewhere,
  holdsAny,
  needlesOf,
  type Place,
  type PlaceInRun,
  stringsAt,
  stringsOf,
} from './places.ts'
import { REDACTIONS, type Redaction } from './redaction-ledger.ts'
import type { CarriedOut, Redactor } from './redactor.ts'

export type RedactRequest = {
  readonly runId: string
  readonly seq: number
  /** RFC 6901, from the payload: to a string, or to an object or array that holds strings. */
  readonly pointer: string
  readonly reason: string
  /** The part of the text to look for elsewhere in the run; null for the whole text. Not kept. */
  readonly secret: string | null
  /** Changes nothing, and returns what would be redacted. */
  readonly isPreview?: boolean
}

export type Redacted = {
  /** Revision of the entry in the ledger, which may be older than the request; null in a preview. */
  readonly redaction: number | null
  readonly pointers: readonly string[]
  /** SHA-256 of the artifact that is removed with an output. */
  readonly artifact: string | null
  /** Seqs of the summaries that may hold a part of the texts, and were redacted with them. */
  readonly summaries: readonly number[]
  /** Where one of the texts still is. */
  readonly elsewhere: readonly PlaceInRun[]
  readonly carriedOut: CarriedOut
}

export type RedactError =
  | AppendError
  | LoadError
  | { readonly type: 'record_not_found'; readonly seq: number }
  /** The message explains why, and what to do. */
  | { readonly type: 'not_redactable' | 'still_needed' | 'reason_tells'; readonly message: string }

type RedactDeps = {
  /** The store without redactions, in which they are recorded. */
  readonly ledger: EventStore
  /** The store with redactions. */
  readonly store: EventStore
  readonly redactor: Redactor
  readonly sign: Signing
  /** Seconds since the epoch. */
  readonly now: () => number
  /** Whether the artifact of this SHA-256 holds one of the texts. */
  readonly artifactHolds: (sha256: string, texts: readonly string[]) => Promise<boolean>
}

/** How long to wait until the redaction is carried out, in milliseconds. */
const PATIENCE_MS = 10_000

/**
 * Redacts strings of a record: records the redaction in the ledger, then waits until it is carried out. For strings
 * that are redacted already, returns the earlier redaction, so that a request can safely be repeated.
 */
export function redactRun(
  deps: RedactDeps,
  request: RedactRequest,
  author: Author,
): ResultAsync<Redacted, RedactError> {
  return new ResultAsync(redact(deps, request, author))
}

async function redact(
  deps: RedactDeps,
  request: RedactRequest,
  author: Author,
): Promise<Result<Redacted, RedactError>> {
  const found = await findRecord(deps.store, request)
  if (found.isErr()) return err(found.error)
  const { event, logged } = found.value
  const places = redactable(logged, request.pointer)
  if (places.isErr()) return err(places.error)
  const done = 'redacted' in logged.meta ? logged.meta.redacted : {}
  const left = places.value.filter(({ pointer }) => done[pointer] === undefined)
  if (left.length === 0) {
    if (request.isPreview === true) return ok(NOTHING_REDACTED)
    return redactedBefore(deps, request, places.value, author)
  }
  const run = await load(deps.store, request.runId)
  if (run.isErr()) return err(run.error)
  const needed = run.value === null ? null : neededFor(logged.record, run.value.state)
  if (needed !== null) return err({ type: 'still_needed', message: needed })
  const texts = left.map(({ text }) => text)
  const needles = needlesOf(request.secret === null ? texts : [request.secret])
  if (holdsAny(request.reason, needles)) return err(REASON_TELLS)
  const elsewhere = await findElsewhere(deps, request, left, needles)
  if (elsewhere.isErr()) return err(elsewhere.error)
  const entry = entryOf(deps.now(), request, event, logged.record, left)
  const summaries = await summariesAfter(deps, request)
  if (summaries.isErr()) return err(summaries.error)
  if (request.isPreview === true) {
    const seqs = summaries.value.map(({ payload }) => payload.seq)
    return ok({
      ...{ ...NOTHING_REDACTED, pointers: left.map(({ pointer }) => pointer), summaries: seqs },
      artifact: entry.payload.artifact ?? null,
      elsewhere: elsewhere.value.filter(({ seq }) => !seqs.includes(seq)),
    })
  }
  const entries = [entry, ...summaries.value]
  const recorded = await record(deps, entries, author)
  if (recorded.isErr()) return err(recorded.error)
  const { revision } = recorded.value
  const late = await redactLateSummaries(deps, request, revision, author)
  return late.map(({ seqs: added, carriedOut }) => {
    const seqs = [...summaries.value.map(({ payload }) => payload.seq), ...added]
    return {
      redaction: revision - summaries.value.length,
      pointers: left.map(({ pointer }) => pointer),
      artifact: entry.payload.artifact ?? null,
      summaries: seqs,
      elsewhere: elsewhere.value.filter(({ seq }) => !seqs.includes(seq)),
      carriedOut,
    }
  })
}

const NOTHING_REDACTED: Redacted = {
  ...{ redaction: null, pointers: [], artifact: null, summaries: [], elsewhere: [] },
  carriedOut: { hidden: true, erased: false },
}

const record = ({ ledger, sign }: RedactDeps, entries: readonly Redaction[], author: Author) =>
  decideAndAppend(ledger, REDACTIONS, () => ok(entries), author, { sign })

/**
 * Waits until the ledger is carried out up to a revision, then redacts the summaries that an agent has finished
 * meanwhile. Once a text is hidden, no summary can be made of it.
 */
async function redactLateSummaries(
  deps: RedactDeps,
  request: RedactRequest,
  revision: number,
  author: Author,
): Promise<Result<{ readonly seqs: number[]; readonly carriedOut: CarriedOut }, RedactError>> {
  const { redactor } = deps
  const carriedOut = await redactor.carriedOut(revision, PATIENCE_MS)
  const late = await summariesAfter(deps, request)
  if (late.isErr()) return err(late.error)
  const entries = late.value
  if (entries.length === 0) return ok({ seqs: [], carriedOut })
  const recorded = await record(deps, entries, author)
  if (recorded.isErr()) return err(recorded.error)
  return ok({
    seqs: entries.map(({ payload }) => payload.seq),
    carriedOut: await redactor.carriedOut(recorded.value.revision, PATIENCE_MS),
  })
}

/**
 * The redactions of the summaries that come after a record: each was made of the whole conversation before it, and may
 * hold the text in other words. An agent at work makes another summary.
 */
async function summariesAfter(
  { store, now }: RedactDeps,
  request: RedactRequest,
): Promise<Result<Redaction[], RedactError>> {
  const entries: Redaction[] = []
  for await (const page of recordPages(store, request.runId, { after: request.seq })) {
    if (page.isErr()) return err(page.error)
    for (const { seq, record, meta } of page.value.filter(isSummary)) {
      const done = 'redacted' in meta ? meta.redacted : {}
      const left = stringsOf(record.payload).filter(
        ({ pointer }) => isFreeText(record.kind, pointer) && done[pointer] === undefined,
      )
      if (left.length === 0) continue
      const found = await findRecord(store, { ...request, seq })
      if (found.isErr()) return err(found.error)
      entries.push(entryOf(now(), { ...request, seq }, found.value.event, record, left))
    }
  }
  return ok(entries)
}

const isSummary = ({ record: { kind } }: LoggedRecord): boolean =>
  kind === 'context_compacted' || kind === 'run_summary'

const REASON_TELLS = {
  type: 'reason_tells',
  message:
    'The reason is kept, and it contains the text to redact. Give a reason without that text.',
} as const

type Found = { readonly event: RecordedEvent; readonly logged: LoggedRecord }

async function findRecord(
  store: EventStore,
  { runId, seq }: RedactRequest,
): Promise<Result<Found, RedactError>> {
  const options = { from: seq, direction: 'forward', limit: 1 } as const
  const page = await store.readStream(streamOf(runId), options)
  if (page.isErr()) return err(page.error)
  const [event] = page.value
  if (event === undefined) return err({ type: 'record_not_found', seq })
  return decode(event).map((logged) => ({ event, logged }))
}

/** The strings at or below the pointer, if the log needs none of them. */
function redactable(
  { record }: LoggedRecord,
  pointer: string,
): Result<readonly Place[], RedactError> {
  const refused = (message: string) => err({ type: 'not_redactable', message } as const)
  const places = stringsAt(record.payload, pointer)
  if (places.length === 0) {
    return refused(
      `There is no text at "${pointer}" in the payload of this ${record.kind}: only texts can be redacted.`,
    )
  }
  const kept = places.find((place) => !isFreeText(record.kind, place.pointer))
  if (kept === undefined) return ok(places)
  const sentence = `The log needs ${kept.pointer} of a ${record.kind} to find, fold or verify it`
  return refused(
    places.length === 1
      ? `${sentence}: it cannot be redacted.`
      : `${sentence}: name the texts below "${pointer}" to redact.`,
  )
}

/**
 * The texts are redacted already. They are not known any more, so only the secret is looked for elsewhere. If the server
 * stopped in the middle of the first request, there may be summaries of the texts that are not redacted yet.
 */
async function redactedBefore(
  deps: RedactDeps,
  request: RedactRequest,
  places: readonly Place[],
  author: Author,
): Promise<Result<Redacted, RedactError>> {
  const { redactor } = deps
  const { runId, seq, secret } = request
  const needles = needlesOf(secret === null ? [] : [secret])
  const elsewhere = await findElsewhere(deps, request, places, needles)
  if (elsewhere.isErr()) return err(elsewhere.error)
  const pointers = places.map(({ pointer }) => pointer)
  const entries = redactor.ofRun(runId).filter(({ record: { payload } }) => {
    return (
      payload.seq === seq && pointers.some((pointer) => Object.hasOwn(payload.redacted, pointer))
    )
  })
  const last = entries.at(-1)
  const redaction = last?.seq ?? -1
  // The first reason does not contain the texts. Nobody can check the one of this request.
  const reason = last?.record.payload.reason ?? ''
  const late = await redactLateSummaries(deps, { ...request, reason }, redaction, author)
  return late.map(({ seqs: summaries, carriedOut }) => ({
    redaction,
    pointers,
    artifact: last?.record.payload.artifact ?? null,
    summaries,
    elsewhere: elsewhere.value.filter((place) => !summaries.includes(place.seq)),
    carriedOut,
  }))
}

function entryOf(
  ts: number,
  { runId, seq, reason }: RedactRequest,
  event: RecordedEvent,
  { kind, payload }: RunRecord,
  places: readonly Place[],
): Redaction {
  const pointers = new Set(places.map(({ pointer }) => pointer))
  const commitments = redactStrings(event, pointers).redacted
  const redacted: ByPointer = Object.fromEntries(
    [...pointers].map((pointer) => [pointer, commitments[pointer] ?? '']),
  )
  const whole = kind === 'tool_result' ? payload.sha256 : null
  const artifact = present({ artifact: whole })
  return { kind: 'redacted', ts, payload: { run_id: runId, seq, redacted, ...artifact, reason } }
}
