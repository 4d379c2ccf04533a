import { err, ok, type Result, ResultAsync, safeTry } from 'neverthrow'
import type { ArtifactSource, Artifacts } from '../artifacts/artifacts.ts'
import { present } from '../domain/present.ts'
import type { Signing } from '../log/chain.ts'
import { decode, type LoggedRecord } from '../log/codec.ts'
import { type ByPointer, commitmentTo, leafSalt } from '../log/commitment.ts'
import { decideAndAppend } from '../log/decider.ts'
import { type Author, type LoadError, load, recordPages, streamOf } from '../log/run-log.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { isFreeText, neededFor } from './free-text.ts'
import { type ArtifactsAway, away, type TaintedPack, taintedPacks } from './objects.ts'
import {
  findElsewhere,
  holdsAny,
  needlesOf,
  type Place,
  type PlaceInRun,
  stringsAt,
  stringsOf,
} from './places.ts'
import type { Redaction } from './redaction.ts'
import { REDACTIONS } from './redaction-index.ts'
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
  /** How many objects of snapshots, hidden checks and lists hold the text, and are removed from all runs that have them. */
  readonly objects: number
  /** Where one of the texts still is. */
  readonly elsewhere: readonly PlaceInRun[]
  readonly carriedOut: CarriedOut
}

export type RedactError =
  | AppendError
  | LoadError
  | ArtifactsAway
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
  /** The runs that begin from this record of a run or a later one, and what begins from these. */
  readonly goingOn: (runId: string, seq: number) => readonly string[]
  readonly artifacts: ArtifactSource & Pick<Artifacts, 'put'>
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
  return safeTry<Redacted, RedactError>(async function* () {
    const { isPreview = false, reason, secret } = request
    const logged = yield* await recordAt(deps.store, request)
    const check = hiddenCheckAt(logged, request)
    const places = check === null ? yield* redactable(logged, request.pointer) : []
    const left = unredacted(logged, places)
    const { index } = deps.redactor
    if (check === null ? left.length === 0 : index.hasRedactedArtifact(check)) {
      return isPreview
        ? ok(NOTHING_REDACTED)
        : redactedBefore(deps, request, { places, check }, author)
    }
    const run = yield* await load(deps.store, request.runId)
    const needed = run === null ? null : neededFor(logged.record, run.state)
    if (needed !== null) return err({ type: 'still_needed', message: needed } as const)
    const needles = needlesOf(secret === null ? left.map(({ text }) => text) : [secret])
    if (holdsAny(reason, needles)) {
      const message = 'The reason is kept, and it contains the text to redact. Leave that text out.'
      return err({ type: 'reason_tells', message } as const)
    }
    const elsewhere = yield* await findElsewhere(deps, request, left, needles)
    const entry = entryOf(deps.now(), request, logged, left)
    const along = yield* redactedAlong(deps, request, needles)
    const pointers = left.map(({ pointer }) => pointer)
    const { artifact = null } = entry.payload
    const planned = withAlong(
      { ...NOTHING_REDACTED, pointers, artifact, elsewhere },
      along,
      request,
    )
    if (isPreview) return ok(planned)
    const more = yield* await entriesFor(deps, reason, along)
    const { revision } = yield* await record(deps, [entry, ...more], author)
    const redaction = revision - more.length
    return finish(deps, { request, needles }, author, revision, { ...planned, redaction })
  })
}

const NOTHING_REDACTED: Redacted = {
  redaction: null,
  pointers: [],
  artifact: null,
  summaries: [],
  objects: 0,
  elsewhere: [],
  carriedOut: { hidden: true, erased: false },
}

const record = ({ ledger, sign }: RedactDeps, entries: readonly Redaction[], author: Author) =>
  decideAndAppend(ledger, REDACTIONS, () => ok(entries), author, { sign })

/**
 * Waits until the ledger is carried out up to a revision, then redacts the summaries that an agent has finished
 * meanwhile, and removes the objects that it has kept. Once a text is hidden, no summary can be made of it, and no object
 * that was removed is kept again.
 */
const finish = (
  deps: RedactDeps,
  { request, needles }: { readonly request: RedactRequest; readonly needles: readonly string[] },
  author: Author,
  revision: number,
  done: Redacted,
): ResultAsync<Redacted, RedactError> =>
  safeTry<Redacted, RedactError>(async function* () {
    const { redactor } = deps
    const carriedOut = await redactor.carriedOut(revision, PATIENCE_MS)
    const late = await redactedAlong(deps, request, needles)
    const recorded = await late
      .asyncAndThen((along) => entriesFor(deps, request.reason, along))
      .andThen((entries) => (entries.length > 0 ? record(deps, entries, author) : ok(null)))
    // The redaction is recorded. The same request, sent again, looks for the rest.
    if (late.isErr() || recorded.isErr()) {
      return ok({ ...done, carriedOut: { ...carriedOut, hidden: false } })
    }
    const all = withAlong(done, late.value, request)
    if (recorded.value === null) return ok({ ...all, carriedOut })
    const last = await redactor.carriedOut(recorded.value.revision, PATIENCE_MS)
    return ok({ ...all, carriedOut: last })
  })

/** What is redacted along with a text: the summaries after it, and packs in which the text is. */
type Along = { readonly summaries: readonly Redaction[]; readonly packs: readonly TaintedPack[] }

const redactedAlong = (
  deps: RedactDeps,
  request: RedactRequest,
  needles: readonly string[],
): ResultAsync<Along, RedactError> =>
  safeTry<Along, RedactError>(async function* () {
    const summaries = yield* await summariesAfter(deps, request)
    const packsOf = (sha256: string) => deps.redactor.index.packsOf(sha256)
    return ok({ summaries, packs: yield* await taintedPacks(deps, needles, packsOf) })
  })

/** Keeps what is left of the packs. @returns the entries that remove them, after those of the summaries */
function entriesFor(
  { artifacts, now }: Pick<RedactDeps, 'artifacts' | 'now'>,
  reason: string,
  { summaries, packs }: Along,
): ResultAsync<readonly Redaction[], RedactError> {
  const ofPack = async ({ runId: run_id, seq, sha256: artifact, objects, rest }: TaintedPack) => {
    const replaced_by = rest === null ? undefined : await artifacts.put(rest)
    const removed = { run_id, seq, redacted: {}, artifact, objects }
    const payload = { ...removed, ...present({ replaced_by }), reason }
    return { kind: 'redacted', ts: now(), payload } as const
  }
  const kept = async () => {
    const entries: Redaction[] = [...summaries]
    for (const pack of packs) entries.push(await ofPack(pack))
    return entries
  }
  return ResultAsync.fromPromise(kept(), away)
}

/** What was redacted, and this along with it. */
function withAlong(done: Redacted, along: Along, { runId }: RedactRequest): Redacted {
  const own = along.summaries.filter(({ payload }) => payload.run_id === runId)
  const summaries = [...done.summaries, ...own.map(({ payload }) => payload.seq)]
  const elsewhere = done.elsewhere.filter(({ seq }) => !summaries.includes(seq))
  // What is no pack is removed as a whole.
  const removed = along.packs.flatMap(({ sha256, objects }) =>
    objects.length === 0 ? [sha256] : objects,
  )
  const objects = done.objects + new Set(removed).size
  return { ...done, summaries, elsewhere, objects }
}

/**
 * The redactions of the summaries that come after a record, also in runs that begin from there: each was made of the whole
 * conversation before it, and may hold the text in other words. An agent at work makes another summary.
 */
async function summariesAfter(
  { store, now, goingOn }: RedactDeps,
  request: RedactRequest,
): Promise<Result<Redaction[], RedactError>> {
  const { runId: own, seq } = request
  const entries: Redaction[] = []
  for (const runId of [own, ...goingOn(own, seq)]) {
    for await (const page of recordPages(store, runId, { after: runId === own ? seq : 0 })) {
      if (page.isErr()) return err(page.error)
      for (const logged of page.value) {
        const { kind, payload } = logged.record
        if (kind !== 'context_compacted' && kind !== 'run_summary') continue
        const texts = stringsOf(payload).filter(({ pointer }) => isFreeText(kind, pointer))
        const left = unredacted(logged, texts)
        if (left.length > 0) entries.push(entryOf(now(), { ...request, runId }, logged, left))
      }
    }
  }
  return ok(entries)
}

async function recordAt(
  store: EventStore,
  { runId, seq }: RedactRequest,
): Promise<Result<LoggedRecord, RedactError>> {
  const options = { from: seq, direction: 'forward', limit: 1 } as const
  const page = await store.readStream(streamOf(runId), options)
  if (page.isErr()) return err(page.error)
  const [event] = page.value
  return event === undefined ? err({ type: 'record_not_found', seq }) : decode(event)
}

/** The artifact of a check that the agent did not see, if the request is about that; else null. */
const hiddenCheckAt = (
  { record: { kind, payload } }: LoggedRecord,
  { pointer }: RedactRequest,
): string | null =>
  kind === 'run_created' && pointer === '/config/accept'
    ? (payload.config.accept?.sha256 ?? null)
    : null

/** Those of these strings that are not redacted yet. */
function unredacted({ meta }: LoggedRecord, places: readonly Place[]): readonly Place[] {
  const done = 'redacted' in meta ? meta.redacted : {}
  return places.filter(({ pointer }) => done[pointer] === undefined)
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
  { places, check }: { readonly places: readonly Place[]; readonly check: string | null },
  author: Author,
): Promise<Result<Redacted, RedactError>> {
  const { runId, seq, secret } = request
  const needles = needlesOf(secret === null ? [] : [secret])
  const elsewhere = await findElsewhere(deps, request, places, needles)
  if (elsewhere.isErr()) return err(elsewhere.error)
  const pointers = places.map(({ pointer }) => pointer)
  const last = deps.redactor.index.ofRun(runId).findLast(({ record: { payload } }) => {
    return check === null
      ? payload.seq === seq && pointers.some((pointer) => Object.hasOwn(payload.redacted, pointer))
      : payload.artifact === check
  })
  const { artifact = null, reason = '' } = last?.record.payload ?? {}
  const redaction = last?.seq ?? -1
  // The first reason does not contain the texts. Nobody can check the one of this request.
  const again = { request: { ...request, reason }, needles }
  return finish(deps, again, author, redaction, {
    ...NOTHING_REDACTED,
    redaction,
    pointers,
    artifact,
    elsewhere: elsewhere.value,
  })
}

function entryOf(
  ts: number,
  request: RedactRequest,
  logged: LoggedRecord,
  places: readonly Place[],
): Redaction {
  const { runId, reason } = request
  const { seq, meta, record } = logged
  const ownSalt = (pointer: string): string =>
    'salts' in meta ? (meta.salts[pointer] ?? '') : leafSalt(meta.salt, pointer)
  const redacted: ByPointer = Object.fromEntries(
    places.map(({ pointer, text }) => [pointer, commitmentTo(text, ownSalt(pointer))]),
  )
  const output = record.kind === 'tool_result' ? record.payload.sha256 : null
  const artifact = present({ artifact: output ?? hiddenCheckAt(logged, request) })
  return { kind: 'redacted', ts, payload: { run_id: runId, seq, redacted, ...artifact, reason } }
}
