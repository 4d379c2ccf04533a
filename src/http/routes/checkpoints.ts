import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { err, ok } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, InclusionProof } from '../../api/audit.ts'
import { CheckpointParams, ListCheckpointsQuery } from '../../api/audit-requests.ts'
import { RunId } from '../../api/fields.ts'
import type { Problem } from '../../api/problems.ts'
import { RunParams } from '../../api/run-queries.ts'
import type { Audit } from '../../audit/audit.ts'
import { sortedHeads } from '../../audit/checkpoints/run-heads.ts'
import { ledgerOf } from '../../audit/ledgers.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { ZodApp } from '../deps.ts'
import { AUDIT_PROBLEMS, described, problems, sendResult } from '../problems/problem.ts'
import { auditProblem } from '../problems/problem-of.ts'
import { NDJSON, sendStream } from '../replies/format.ts'

/** -1 for text that is not a number: no checkpoint has this number. */
function numberOf(text: string): number | 'latest' {
  if (text === 'latest') return 'latest'
  return /^\d{1,10}$/.test(text) ? Number(text) : -1
}

const findCheckpoint = (audit: Audit, number: string, request: FastifyRequest) =>
  audit
    .checkpoint(numberOf(number))
    .mapErr((error) => auditProblem(error, request))
    .andThen((found) => {
      const checkpoint = found?.checkpoint ?? null
      return found === null || checkpoint === null
        ? err<never, Problem>({ code: 'checkpoint_not_found' })
        : ok({ ...found, checkpoint })
    })

/** GET /api/checkpoints, /api/checkpoints/{number}, and of one checkpoint: its runs, and the proof for one run. */
export function checkpoints(app: ZodApp, audit: Audit): void {
  listCheckpoints(app, audit)
  readCheckpoint(app, audit)
  listCheckpointRuns(app, audit)
  proveInclusion(app, audit)
}

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
        'whether a run was dropped or lost its end: `retrai verify --server URL --checkpoint FILE`.',
      querystring: ListCheckpointsQuery,
      response: {
        200: described('At most `limit` checkpoints', z.array(Checkpoint)),
        ...problems('invalid_request', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { after, limit } = request.query
      const listed = (await audit.checkpoints(after, limit)).map((all) => [...all])
      return sendResult(request, reply, listed, auditProblem)
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
      const proof = findCheckpoint(audit, number, request).andThen((found) => {
        const inclusion = id === undefined ? null : audit.inclusion(found, id)
        return inclusion === null ? err<never, Problem>(NOT_COVERED) : ok(inclusion)
      })
      return sendResult(request, reply, proof)
    },
  })
}
