import { Readable } from 'node:stream'
import * as z from 'zod'
import { Checkpoint, InclusionProof } from '../../api/audit.ts'
import { MAX_SEQ } from '../../api/event-query.ts'
import { RunId, RunParams } from '../../api/run-id.ts'
import type { Audit } from '../../audit/audit.ts'
import { sortedHeads } from '../../audit/checkpoints/run-heads.ts'
import { ledgerOf } from '../../audit/ledgers.ts'
import { canonicalJson } from '../../audit/proofs/canonical.ts'
import { AUDIT_PROBLEMS, auditProblem } from '../problems/audit-problem.ts'
import { problems, sendProblem, sendResult } from '../problems/problem.ts'
import { sendStream } from '../send-stream.ts'
import type { ZodApp } from '../zod-app.ts'

const CHECKPOINT: Checkpoint = {
  type: 'retrai.checkpoint.v1',
  log_id: '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed',
  number: 3,
  runs: 1,
  root: '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae',
  previous: 'fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9',
  signed_at: '2026-02-18T12:05:00.000Z',
  key: '7f0b9b1e1c9a1f4d2f7a3a1c8f5e6d7b8a9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e',
  signature: '0'.repeat(128),
}
const DescribedCheckpoint = Checkpoint.meta({ id: 'Checkpoint', examples: [CHECKPOINT] })
const CheckpointList = z.array(DescribedCheckpoint).meta({ examples: [[CHECKPOINT]] })
const DescribedInclusion = InclusionProof.extend({ checkpoint: DescribedCheckpoint }).meta({
  examples: [
    {
      checkpoint: CHECKPOINT,
      leaf: {
        run_id: '550e8400-e29b-41d4-a716-446655440000',
        length: 32,
        head: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      },
      index: 0,
      path: [],
    },
  ],
})

const ListQuery = z.strictObject({
  after: z.coerce
    .number()
    .int()
    .min(-1)
    .max(MAX_SEQ)
    .default(-1)
    .describe('Only numbers behind this one'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})

/** Any text is taken, so that a wrong number is an unknown checkpoint and not an invalid request. */
const NumberParams = z.object({
  number: z.string().meta({ description: 'A number, or `latest`', examples: ['latest'] }),
})

/** A number that no checkpoint has stands for what is none. */
function numberOf(text: string): number | 'latest' {
  if (text === 'latest') return 'latest'
  return /^\d{1,10}$/.test(text) ? Number(text) : -1
}

/** GET /api/checkpoints, /api/checkpoints/{number}, and of one: its runs, and the proof for one of them. */
export function checkpoints(app: ZodApp, audit: Audit): void {
  listCheckpoints(app, audit)
  readCheckpoint(app, audit)
  listRunsOf(app, audit)
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
      summary: 'Signed statements of all the runs and ledgers there are, oldest first',
      description:
        'Written soon after each end of a run, and at the latest RETRAI_CHECKPOINT_SECONDS (60) after a ' +
        'change. Whoever keeps one can tell later whether a run was dropped or the end of one was cut off: ' +
        '`retrai verify --server URL --checkpoint FILE`.',
      querystring: ListQuery,
      response: { 200: CheckpointList, ...problems('invalid_request', ...AUDIT_PROBLEMS) },
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
      params: NumberParams,
      response: {
        200: DescribedCheckpoint,
        ...problems('checkpoint_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const log = await audit.checkpoint(numberOf(request.params.number))
      if (log.isErr()) return sendProblem(request, reply, auditProblem(log.error, request))
      const checkpoint = log.value?.checkpoint ?? null
      return checkpoint ?? sendProblem(request, reply, { code: 'checkpoint_not_found' })
    },
  })
}

function listRunsOf(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/checkpoints/:number/runs',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'listCheckpointRuns',
      tags: ['audit'],
      summary: 'The runs and ledgers that a checkpoint is made over: the leaves of its tree',
      params: NumberParams,
      response: {
        200: {
          description:
            'One JSON object a line: `run_id`, `length`, `head`. A ledger is told of with the name of its ' +
            'stream in the place of the run id, such as `retrai-access`',
          content: { 'application/x-ndjson': { schema: z.string() } },
        },
        ...problems('checkpoint_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const log = await audit.checkpoint(numberOf(request.params.number))
      if (log.isErr()) return sendProblem(request, reply, auditProblem(log.error, request))
      if (log.value === null) return sendProblem(request, reply, { code: 'checkpoint_not_found' })
      const heads = sortedHeads(log.value.heads.values())
      const lines = Readable.from(heads.map((head) => `${canonicalJson(head)}\n`))
      return sendStream(reply, 'application/x-ndjson', lines)
    },
  })
}

function proveInclusion(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/checkpoints/:number/runs/:run_id',
    config: { needs: 'checkpoints:read' },
    schema: {
      operationId: 'proveInclusion',
      tags: ['audit'],
      summary: 'The proof that a run is one of those that a checkpoint is made over',
      params: NumberParams.extend(RunParams.shape),
      response: {
        200: DescribedInclusion,
        ...problems('run_not_found', 'checkpoint_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { run_id: given } = request.params
      const id = ledgerOf(given) === null ? RunId.safeParse(given).data : given
      const log = await audit.checkpoint(numberOf(request.params.number))
      if (log.isErr()) return sendProblem(request, reply, auditProblem(log.error, request))
      if (log.value === null) return sendProblem(request, reply, { code: 'checkpoint_not_found' })
      const proof = id === undefined ? null : audit.inclusion(log.value, id)
      return proof ?? sendProblem(request, reply, NOT_IN_IT)
    },
  })
}

const NOT_IN_IT = {
  code: 'run_not_found',
  detail: 'This checkpoint is made over no such run. A run that is newer is in a later one.',
} as const
