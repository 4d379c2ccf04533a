import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { err, ok, ResultAsync } from 'neverthrow'
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
import type { Problem } from '../../api/problems.ts'
import { RunParams } from '../../api/run-requests.ts'
import type { Audit } from '../../audit/audit.ts'
import { evidencePages } from '../../audit/bundle/evidence-file.ts'
import { ENVELOPE_TYPE } from '../../audit/bundle/in-toto.ts'
import { proveInclusion as inclusionIn, sortedHeads } from '../../audit/checkpoints/merkle.ts'
import { ledgerOf } from '../../audit/ledgers.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { ZodApp } from '../deps.ts'
import {
  AUDIT_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { auditProblem } from '../problems/problem-of.ts'
import { NDJSON, sendStream } from '../replies/format.ts'

export const KEEP_IT =
  'Each hash covers the one before it, so with a kept proof a client can check later whether a record up to ' +
  'there was changed, dropped or added.'

/** The public keys of the server. Of a run: its proof, and its export. Checkpoints; of one, its runs, and the proof for one. */
export function proofs(app: ZodApp, audit: Audit): void {
  listKeys(app, audit)
  proveRun(app, audit)
  exportRun(app, audit)
  listCheckpoints(app, audit)
  readCheckpoint(app, audit)
  listCheckpointRuns(app, audit)
  proveInclusion(app, audit)
}

function listKeys(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/keys',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'listKeys',
      tags: ['audit'],
      summary: 'The public keys that this server signs with, newest first',
      description:
        'Keep the fingerprints somewhere else, to check proofs and exports against them. ' +
        'The list keeps keys that were replaced, and their signatures remain valid. Servers that share a log ' +
        'publish their keys in it, with their checkpoints: `all=true` lists these too.',
      querystring: ListKeysQuery,
      response: { 200: described('The keys', PublishedKeys), ...problems('keys_unusable') },
    },
    handler: async (request, reply) =>
      sendResult(
        request,
        reply,
        audit.keys(request.query.all === 'true').mapErr(auditProblem(request)),
      ),
  })
}

function proveRun(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/proof',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'proveRun',
      tags: ['audit'],
      summary: 'A signed statement of how many records a run has, and of the hash of the last',
      description: `${KEEP_IT} GET /api/checkpoints/latest/runs/{run_id} proves that the run is one of all runs of this server.`,
      params: RunParams,
      response: {
        200: described('The proof', ProofInLog),
        ...problems('run_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) =>
      sendResult(request, reply, audit.prove(request.runId).mapErr(auditProblem(request))),
  })
}

function exportRun(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/export',
    config: { needs: 'runs:export' },
    // The server makes an export while it sends it, so it has nothing to answer a HEAD with.
    exposeHeadRoute: false,
    schema: {
      operationId: 'exportRun',
      tags: ['audit'],
      summary: 'Everything that the server has of a run, as one file that can be verified offline',
      description:
        'A .tar.gz with the records, the artifacts that they name, the trees of all snapshots and the files ' +
        'that differ between them, a signed proof, the public keys and a signed manifest. A file with a secret is ' +
        'withheld. `retrai verify FILE` checks it without server or network. The export holds ' +
        'the run as of the moment of the request. If the download breaks off, the archive is not complete. ' +
        'With `format=in-toto`, the answer is a DSSE envelope with a test-result of in-toto, of a run that has ended.',
      params: RunParams,
      querystring: ExportQuery,
      response: {
        200: {
          description: 'The archive, the page, or the statement',
          content: {
            'application/gzip': { schema: z.string().meta({ format: 'binary' }) },
            'text/html': { schema: z.string() },
            [ENVELOPE_TYPE]: { schema: z.string() },
          },
        },
        ...problems(
          ...(['invalid_request', 'run_not_found', 'run_not_ended', 'snapshot_not_found'] as const),
          ...(['not_found', 'redacted_meanwhile', ...AUDIT_PROBLEMS] as const),
        ),
      },
    },
    handler: async (request, reply) => {
      const { runId, query } = request
      if (query.format === 'in-toto') {
        const stated = audit.inToto(runId).mapErr(auditProblem(request))
        const send = (text: string) => sendStream(reply, ENVELOPE_TYPE, Readable.from([text]))
        return sendResult(request, reply, stated.map(send))
      }
      const isPage = query.format === 'html'
      const pages = isPage ? await evidencePages() : ok(null)
      if (pages.isErr()) {
        return sendProblem(request, reply, { code: 'not_found', detail: pages.error })
      }
      const pageOf = pages.value
      const sent = (await audit.exportRun(runId, query.files === 'true')).map((archive) => {
        const name = `retrai-run-${runId}.${query.format}`
        reply.header('content-disposition', `attachment; filename="${name}"`)
        return pageOf === null
          ? sendStream(reply, 'application/gzip', archive)
          : sendStream(reply, 'text/html; charset=utf-8', pageOf(archive))
      })
      return sendResult(request, reply, sent.mapErr(auditProblem(request)))
    },
  })
}

/** -1 for text that is not a number: no checkpoint has this number. */
function numberOf(text: string): number | 'latest' {
  if (text === 'latest') return 'latest'
  return /^\d{1,10}$/.test(text) ? Number(text) : -1
}

/** Says how many witnesses have seen the newest checkpoint. The checkpoints themselves keep their names. */
const SEEN_BY = 'retrai-seen-by'

const findCheckpoint = (audit: Audit, number: string, request: FastifyRequest) =>
  audit
    .checkpoint(numberOf(number))
    .mapErr(auditProblem(request))
    .andThen((found) =>
      found === null ? err<never, Problem>({ code: 'checkpoint_not_found' }) : ok(found),
    )

function listCheckpoints(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/checkpoints',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'listCheckpoints',
      tags: ['audit'],
      summary: 'Signed statements of all runs and ledgers, oldest first',
      description:
        'The server writes a checkpoint soon after a run ends, and at the latest ' +
        'RETRAI_CHECKPOINT_SECONDS (60) after a change. With a kept checkpoint a client can check later ' +
        'whether a run was dropped or lost its end: `retrai verify --server URL --checkpoint FILE`. If there are ' +
        'witnesses, the header `retrai-seen-by` says how many have seen the newest one, and when.',
      querystring: ListCheckpointsQuery,
      response: {
        200: described('At most `limit` checkpoints', z.array(Checkpoint)),
        ...problems('invalid_request', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { after, limit } = request.query
      const listed = (await audit.checkpoints(after, limit)).map((all) => [...all])
      const seen = audit.seen()
      if (seen !== null) reply.header(SEEN_BY, seen)
      return sendResult(request, reply, listed.mapErr(auditProblem(request)))
    },
  })
}

function readCheckpoint(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/checkpoints/:number',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'readCheckpoint',
      tags: ['audit'],
      summary: 'One checkpoint',
      params: CheckpointParams,
      response: {
        200: described('The checkpoint', Checkpoint),
        ...problems('checkpoint_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const found = findCheckpoint(audit, request.params.number, request)
      return sendResult(
        request,
        reply,
        found.map(({ checkpoint }) => checkpoint),
      )
    },
  })
}

function listCheckpointRuns(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/checkpoints/:number/runs',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'listCheckpointRuns',
      tags: ['audit'],
      summary: 'The runs and ledgers that a checkpoint covers: the leaves of its tree',
      params: CheckpointParams,
      response: {
        200: described(
          'One JSON object a line: `run_id`, `length`, `head`. For a ledger, `run_id` is the name of its ' +
            'stream, such as `retrai-access`',
          z.string(),
          NDJSON,
        ),
        ...problems('checkpoint_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const sent = findCheckpoint(audit, request.params.number, request).map(({ heads }) => {
        const lines = sortedHeads(heads.values()).map((head) => `${canonicalText(head)}\n`)
        return sendStream(reply, NDJSON, Readable.from(lines))
      })
      return sendResult(request, reply, sent)
    },
  })
}

const NOT_COVERED = {
  code: 'run_not_found',
  detail:
    'This checkpoint does not cover such a run. If the run is newer, a later checkpoint does.',
} as const satisfies Problem

function proveInclusion(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/checkpoints/:number/runs/:run_id',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'proveInclusion',
      tags: ['audit'],
      summary: 'The proof that a checkpoint covers a run',
      params: CheckpointParams.extend(RunParams.shape),
      response: {
        200: described('The proof', InclusionProof),
        ...problems('run_not_found', 'checkpoint_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { run_id: given, number } = request.params
      const id = ledgerOf(given) === null ? RunId.safeParse(given).data : given
      const proof = findCheckpoint(audit, number, request)
        .andThen((found) => ResultAsync.fromSafePromise(inclusionIn(found, id ?? '')))
        .andThen((inclusion) =>
          inclusion === null ? err<never, Problem>(NOT_COVERED) : ok(inclusion),
        )
      return sendResult(request, reply, proof)
    },
  })
}
