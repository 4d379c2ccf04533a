import * as z from 'zod'
import { Checkpoint, InclusionProof, LedgerProof, PublishedKey, RunProof } from '../api/audit.ts'
import { AccessEntry, type AccessKind } from '../api/records.ts'
import {
  type Answered,
  type Caller,
  createGetter,
  cursorOf,
  type Opener,
  queryOf,
  runPath,
  type Signal,
} from './call.ts'

// All that is signed counts: what a newer server has added stays in what it says.
const Proof = RunProof.loose()
const LooseCheckpoint = Checkpoint.loose()
const Inclusion = InclusionProof.extend({ checkpoint: LooseCheckpoint })
const Keys = z.object({ keys: z.array(PublishedKey.loose()) })

/** What a server says and signs of its runs. docs/verification.md tells how to check it. */
export type Audit = {
  /** How many records a run has, and the hash of the last. */
  proof(runId: string, options?: Signal): Answered<RunProof>
  /** The public keys that the server signs with, newest first. */
  keys(options?: Signal): Answered<readonly PublishedKey[]>
  /** Statements of all runs, oldest first: at most `limit` (100 unless told otherwise) behind a number. */
  checkpoints(
    query?: { readonly after?: number | undefined; readonly limit?: number | undefined },
    options?: Signal,
  ): Answered<readonly Checkpoint[]>
  checkpoint(number: number | 'latest', options?: Signal): Answered<Checkpoint>
  /** That a run is one of those that a checkpoint is made over. */
  inclusion(number: number | 'latest', runId: string, options?: Signal): Answered<InclusionProof>
  /** All that the server has of a run: a .tar.gz that `retrai verify` checks, as it comes. */
  export(runId: string, options?: Signal): Answered<ReadableStream<Uint8Array<ArrayBuffer>>>
}

export function createAudit(call: Caller, open: Opener): Audit {
  const get = createGetter(call)
  return {
    proof: (runId, options) => get(runPath(runId, '/proof'), Proof, options),
    keys: (options) => get('/api/keys', Keys, options).map(({ keys }) => keys),
    checkpoints: (query = {}, options) =>
      get(`/api/checkpoints${queryOf(query)}`, z.array(LooseCheckpoint), options),
    checkpoint: (number, options) => get(`/api/checkpoints/${number}`, LooseCheckpoint, options),
    inclusion: (number, runId, options) =>
      get(`/api/checkpoints/${number}/runs/${encodeURIComponent(runId)}`, Inclusion, options),
    export: (runId, { signal } = {}) =>
      open({
        path: runPath(runId, '/export'),
        accept: 'application/gzip, application/json',
        signal,
      }),
  }
}

/** An entry of the access log, and its place there. */
export type LoggedAccess = AccessEntry & { readonly seq: number }

export type AccessQuery = {
  readonly run_id?: string | undefined
  readonly principal?: string | undefined
  readonly kinds?: readonly AccessKind[] | undefined
  /** Seconds since the epoch. */
  readonly from_ts?: number | undefined
  readonly to_ts?: number | undefined
  readonly direction?: 'forward' | 'backward' | undefined
  /** At most 5000; the server's default is 500. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly after?: number | undefined
}

/** `next` is the place behind which there are more; null on the last page. */
export type AccessPage = {
  readonly entries: readonly LoggedAccess[]
  readonly next: number | null
}

const Frame = z.looseObject({ seq: z.int() }).transform(({ seq, ...rest }, context) => {
  const entry = AccessEntry.safeParse(rest)
  if (entry.success) return { ...entry.data, seq }
  context.addIssue('it is no entry that this client knows')
  return z.NEVER
})

const AccessLogProof = LedgerProof.loose()
/** How many entries there are and the hash of the last, signed. */
export type AccessProof = LedgerProof

/** The calls of /api/access, for auditors. */
export type Accesses = {
  list(query?: AccessQuery, options?: Signal): Answered<AccessPage>
  /** How many entries there are and the hash of the last, signed. */
  proof(options?: Signal): Answered<AccessProof>
}

export function createAccesses(call: Caller): Accesses {
  return {
    list: ({ kinds, ...query } = {}, { signal } = {}) =>
      call({
        method: 'GET',
        path: `/api/access${queryOf({ ...query, kinds: kinds?.join(',') })}`,
        schema: z.array(Frame),
        signal,
      }).map(({ value, headers }) => {
        const next = cursorOf(headers.get('link'), 'after')
        const place = Number(next)
        return {
          entries: value,
          next: next === null || !Number.isSafeInteger(place) ? null : place,
        }
      }),

    proof: (options) => createGetter(call)('/api/access/proof', AccessLogProof, options),
  }
}
