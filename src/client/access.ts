import * as z from 'zod'
import { LedgerProof } from '../api/audit.ts'
import { AccessEntry, type AccessKind } from '../domain/access.ts'
import { type Answered, type Caller, createGetter, type Signal } from './call.ts'
import { cursorOf, queryOf } from './paging.ts'

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

const Proof = LedgerProof.loose()
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

    proof: (options) => createGetter(call)('/api/access/proof', Proof, options),
  }
}
