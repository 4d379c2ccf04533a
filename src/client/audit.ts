import * as z from 'zod'
import { Checkpoint, InclusionProof, LedgerProof, PublishedKey, RunProof } from '../api/audit.ts'
import type { ListAccessesQuery } from '../api/audit-requests.ts'
import { LogState } from '../api/log.ts'
import { AccessEntry, type AccessKind } from '../api/records.ts'
import {
  type Answered,
  type Bytes,
  cursorOf,
  queryOf,
  type Rest,
  runPath,
  type Signal,
} from './call.ts'

// Everything that is signed counts, so fields that a newer server adds are kept.
const Proof = RunProof.loose().transform(({ log: _, ...signed }): RunProof => signed)
const LooseCheckpoint = Checkpoint.loose()
const Inclusion = InclusionProof.extend({ checkpoint: LooseCheckpoint })
const Keys = z.object({ keys: z.array(PublishedKey.loose()) })

type ExportOptions = { readonly files?: boolean; readonly format?: 'tar.gz' | 'html' }

/** What a server signs about its runs. docs/verification.md describes how to check it. */
export interface Audit extends ReturnType<typeof createAudit> {}

export const createAudit = ({ get, open }: Rest) => ({
  /** How many records a run has, and the hash of the last. */
  proof: (runId: string, options?: Signal): Answered<RunProof> =>
    get(runPath(runId, '/proof'), Proof, options),
  /** The log of all checkpoints that the server has signed, and which witnesses have seen it. */
  log: (options?: Signal): Answered<LogState> => get('/api/log', LogState, options),
  /** The public keys that the server signs with, newest first. */
  keys: (options?: Signal): Answered<readonly PublishedKey[]> =>
    get('/api/keys', Keys, options).map(({ keys }) => keys),
  /** The checkpoints after a number, oldest first: at most `limit`, which is 100 by default. */
  checkpoints: (
    query: { readonly after?: number | undefined; readonly limit?: number | undefined } = {},
    options?: Signal,
  ): Answered<readonly Checkpoint[]> =>
    get(`/api/checkpoints${queryOf(query)}`, z.array(LooseCheckpoint), options),
  checkpoint: (number: number | 'latest', options?: Signal): Answered<Checkpoint> =>
    get(`/api/checkpoints/${number}`, LooseCheckpoint, options),
  /** The proof that a checkpoint covers a run. */
  inclusion: (
    number: number | 'latest',
    runId: string,
    options?: Signal,
  ): Answered<InclusionProof> =>
    get(`/api/checkpoints/${number}/runs/${encodeURIComponent(runId)}`, Inclusion, options),
  /**
   * Everything that the server has of a run, as a stream: a .tar.gz that `retrai verify` checks. With `files`, also all
   * files of the first and the last snapshot. With `format: 'html'`, a page for people with that archive in it.
   */
  export: (
    runId: string,
    { files, format, ...options }: Signal & ExportOptions = {},
  ): Answered<Bytes> =>
    open(
      runPath(runId, `/export${queryOf({ files, format })}`),
      'application/gzip, text/html, application/json',
      options,
    ),
})

/** An entry of the access log, and its place there. */
export type LoggedAccess = AccessEntry & { readonly seq: number }

/** At most 5000; the server's default is 500. `after` is `next` of the previous page. Times are in seconds since the epoch. */
export type AccessQuery = Partial<Omit<z.output<typeof ListAccessesQuery>, 'kinds'>> & {
  readonly kinds?: readonly AccessKind[] | undefined
}

/** `next` is the `after` of the next page; null on the last page. */
export type AccessPage = {
  readonly entries: readonly LoggedAccess[]
  readonly next: number | null
}

const Frame = z.looseObject({ seq: z.int() }).transform(({ seq, ...rest }, context) => {
  const entry = AccessEntry.safeParse(rest)
  if (entry.success) return { ...entry.data, seq }
  context.addIssue('this client does not know such an entry')
  return z.NEVER
})

/** How many entries there are and the hash of the last, signed. */
export type AccessProof = LedgerProof

/** The calls of /api/access, for auditors. */
export interface Accesses extends ReturnType<typeof createAccesses> {}

export const createAccesses = ({ call, get }: Rest) => ({
  list: ({ kinds, ...query }: AccessQuery = {}, { signal }: Signal = {}): Answered<AccessPage> =>
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
  proof: (options?: Signal): Answered<AccessProof> =>
    get('/api/access/proof', LedgerProof.loose(), options),
})
