import * as z from 'zod'
import { Checkpoint, InclusionProof, PublishedKey, RunProof } from '../api/audit.ts'
import { type Answered, type Caller, createGetter, type Opener, type Signal } from './call.ts'
import { queryOf } from './paging.ts'
import { runPath } from './run-path.ts'

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
