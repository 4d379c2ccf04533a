import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { err, ok, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, InclusionProof, PublishedKeys } from '../../api/audit.ts'
import {
  CheckpointParams,
  ExportQuery,
  ListCheckpointsQuery,
  ListKeysQuery,
} from '../../api/audit-requests.ts'
import { RunId } from '../../api/fields.ts'
import { ProofInLog } from '../../api/log.ts'
import { RunParams } from '../../api/run-requests.ts'
import type { Audit } from '../../audit/audit.ts'
import { evidencePages } from '../../audit/bundle/evidence-file.ts'
import { ENVELOPE_TYPE } from '../../audit/bundle/in-toto.ts'
import { ledgerOf } from '../../audit/ledgers.ts'
import { proveInclusion, sortedHeads } from '../../checkpoints/merkle.ts'
import { canonicalText } from '../../log/commitment.ts'
import { described, operation } from '../operation.ts'
import { orProblem, type Refusal } from '../problems/problem-of.ts'
import { NDJSON, sendStream } from '../replies/format.ts'

export const KEEP_IT =
  'Each hash covers the one before it, so with a kept proof a client can check later whether a record up to ' +
  'there was changed, dropped or added.'

/** The public keys of the server; of a run: its proof, and its export. */
export function proofs(app: FastifyInstance, audit: Audit): void {
  operation(app, 'GET /api/keys', {
    needs: 'runs:verify',
    id: 'listKeys',
    tag: 'audit',
    summary: 'The public keys that this server signs with, newest first',
    description:
      'Keep the fingerprints somewhere else, to check proofs and exports against them. ' +
      'The list keeps keys that were replaced, and their signatures remain valid. Servers that share a log ' +
      'publish their keys in it, with their checkpoints: `all=true` lists these too.',
    query: ListKeysQuery,
    answers: { 200: described('The keys', PublishedKeys) },
    handle: ({ query }) => audit.keys(query.all === 'true'),
  })
  operation(app, 'GET /api/runs/:run_id/proof', {
    needs: 'runs:verify',
    id: 'proveRun',
    tag: 'audit',
    summary: 'A signed statement of how many records a run has, and of the hash of the last',
    description: `${KEEP_IT} GET /api/checkpoints/latest/runs/{run_id} proves that the run is one of all runs of this server.`,
    answers: { 200: described('The proof', ProofInLog) },
    handle: ({ runId }) => audit.prove(runId),
  })
  operation(app, 'GET /api/runs/:run_id/export', {
    needs: 'runs:export',
    id: 'exportRun',
    tag: 'audit',
    summary: 'Everything that the server has of a run, as one file that can be verified offline',
    description:
      'A .tar.gz with the records, the artifacts that they name, the trees of all snapshots and the files ' +
      'that differ between them, a signed proof, the public keys and a signed manifest. A file with a secret is ' +
      'withheld. `retrai verify FILE` checks it without server or network. The export holds ' +
      'the run as of the moment of the request. If the download breaks off, the archive is not complete. ' +
      'With `format=in-toto`, the answer is a DSSE envelope with a test-result of in-toto, of a run that has ended.',
    query: ExportQuery,
    // The server makes an export while it sends it, so it has nothing to answer a HEAD with.
    exposeHeadRoute: false,
    answers: {
      200: {
        description: 'The archive, the page, or the statement',
        content: {
          'application/gzip': { schema: z.string().meta({ format: 'binary' }) },
          'text/html': { schema: z.string() },
          [ENVELOPE_TYPE]: { schema: z.string() },
        },
      },
    },
    handle: ({ runId, query }, reply) => sendExport(runId, query, reply, audit),
  })
}

const sendExport = (
  runId: string,
  { format, files }: z.output<typeof ExportQuery>,
  reply: FastifyReply,
  audit: Audit,
): ResultAsync<FastifyReply, Refusal> =>
  safeTry(async function* () {
    if (format === 'in-toto') {
      const stated = yield* await audit.inToto(runId)
      return ok(sendStream(reply, ENVELOPE_TYPE, Readable.from([stated])))
    }
    const pages = format === 'html' ? await evidencePages() : ok(null)
    if (pages.isErr()) return err({ code: 'not_found', detail: pages.error } as const)
    const pageOf = pages.value
    const archive = yield* await audit.exportRun(runId, files === 'true')
    const name = `retrai-run-${runId}.${format}`
    reply.header('content-disposition', `attachment; filename="${name}"`)
    return ok(
      pageOf === null
        ? sendStream(reply, 'application/gzip', archive)
        : sendStream(reply, 'text/html; charset=utf-8', pageOf(archive)),
    )
  })

/** -1 for text that is not a number: no checkpoint has this number. */
function numberOf(text: string): number | 'latest' {
  if (text === 'latest') return 'latest'
  return /^\d{1,10}$/.test(text) ? Number(text) : -1
}

/** Says how many witnesses have seen the newest checkpoint. The checkpoints themselves keep their names. */
const SEEN_BY = 'retrai-seen-by'

const findCheckpoint = (audit: Audit, number: string) =>
  audit.checkpoint(numberOf(number)).andThen(orProblem({ code: 'checkpoint_not_found' }))

const isCovered = orProblem({
  code: 'run_not_found',
  detail:
    'This checkpoint does not cover such a run. If the run is newer, a later checkpoint does.',
})

/** Checkpoints; of one, its runs, and the proof for one. */
export function checkpoints(app: FastifyInstance, audit: Audit): void {
  operation(app, 'GET /api/checkpoints', {
    needs: 'checkpoints:read',
    id: 'listCheckpoints',
    tag: 'audit',
    summary: 'Signed statements of all runs and ledgers, oldest first',
    description:
      'The server writes a checkpoint soon after a run ends, and at the latest ' +
      'RETRAI_CHECKPOINT_SECONDS (60) after a change. With a kept checkpoint a client can check later ' +
      'whether a run was dropped or lost its end: `retrai verify --server URL --checkpoint FILE`. If there are ' +
      'witnesses, the header `retrai-seen-by` says how many have seen the newest one, and when.',
    query: ListCheckpointsQuery,
    answers: { 200: described('At most `limit` checkpoints', z.array(Checkpoint)) },
    handle: ({ query }, reply) =>
      audit.checkpoints(query.after, query.limit).map((listed) => {
        const seen = audit.seen()
        if (seen !== null) reply.header(SEEN_BY, seen)
        return listed
      }),
  })
  operation(app, 'GET /api/checkpoints/:number', {
    needs: 'checkpoints:read',
    id: 'readCheckpoint',
    tag: 'audit',
    summary: 'One checkpoint',
    params: CheckpointParams,
    answers: { 200: described('The checkpoint', Checkpoint) },
    handle: ({ params }) =>
      findCheckpoint(audit, params.number).map(({ checkpoint }) => checkpoint),
  })
  operation(app, 'GET /api/checkpoints/:number/runs', {
    needs: 'checkpoints:read',
    id: 'listCheckpointRuns',
    tag: 'audit',
    summary: 'The runs and ledgers that a checkpoint covers: the leaves of its tree',
    params: CheckpointParams,
    answers: {
      200: described(
        'One JSON object a line: `run_id`, `length`, `head`. For a ledger, `run_id` is the name of its ' +
          'stream, such as `retrai-access`',
        z.string(),
        NDJSON,
      ),
    },
    handle: ({ params }, reply) =>
      findCheckpoint(audit, params.number).map(({ heads }) => {
        const lines = sortedHeads(heads.values()).map((head) => `${canonicalText(head)}\n`)
        return sendStream(reply, NDJSON, Readable.from(lines))
      }),
  })
  operation(app, 'GET /api/checkpoints/:number/runs/:run_id', {
    needs: 'checkpoints:read',
    id: 'proveInclusion',
    tag: 'audit',
    summary: 'The proof that a checkpoint covers a run',
    params: CheckpointParams.extend(RunParams.shape),
    answers: { 200: described('The proof', InclusionProof) },
    handle: ({ params: { number, run_id: given } }) => {
      const id = ledgerOf(given) === null ? RunId.safeParse(given).data : given
      return findCheckpoint(audit, number)
        .map((found) => proveInclusion(found, id ?? ''))
        .andThen(isCovered)
    },
  })
}
