import { RunProof } from '../../api/audit.ts'
import { RunParams } from '../../api/run-id.ts'
import type { Audit } from '../../audit/audit.ts'
import { AUDIT_PROBLEMS, auditProblem } from '../problems/audit-problem.ts'
import { problems, sendResult } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'

const DescribedProof = RunProof.meta({
  examples: [
    {
      type: 'retrai.run-proof.v1',
      run_id: '550e8400-e29b-41d4-a716-446655440000',
      length: 32,
      head: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      last_kind: 'run_end',
      signed_at: '2026-02-18T12:05:00.000Z',
      key: '7f0b9b1e1c9a1f4d2f7a3a1c8f5e6d7b8a9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e',
      signature: '0'.repeat(128),
    },
  ],
})

/** GET /api/runs/{run_id}/proof */
export function proveRun(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/proof',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'proveRun',
      tags: ['audit'],
      summary: 'A signed statement of how many records a run has, and of the hash of the last',
      description:
        'Each hash covers the one before it, so whoever keeps this can tell later whether any record ' +
        'up to there was changed, dropped or added. A proof that the run is one of all the runs of ' +
        'this server: GET /api/checkpoints/latest/runs/{run_id}.',
      params: RunParams,
      response: { 200: DescribedProof, ...problems('run_not_found', ...AUDIT_PROBLEMS) },
    },
    handler: async (request, reply) =>
      sendResult(request, reply, audit.prove(request.runId), auditProblem),
  })
}
