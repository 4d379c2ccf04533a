import * as z from 'zod'
import { RunParams } from '../../api/run-id.ts'
import type { Audit } from '../../audit/audit.ts'
import { AUDIT_PROBLEMS, auditProblem } from '../problems/audit-problem.ts'
import { problems, sendResult } from '../problems/problem.ts'
import { sendStream } from '../send-stream.ts'
import type { ZodApp } from '../zod-app.ts'

/** GET /api/runs/{run_id}/export */
export function exportRun(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/export',
    config: { needs: 'runs:export' },
    // An export is made as it is sent, so there is nothing to say of it beforehand.
    exposeHeadRoute: false,
    schema: {
      operationId: 'exportRun',
      tags: ['audit'],
      summary: 'All that the server has of a run, as one file that can be verified offline',
      description:
        'A .tar.gz with the records, the artifacts that they name, a signed proof, the public keys and ' +
        'a signed manifest. `retrai verify FILE` checks it without server or network. What is sent is ' +
        'the run as of the moment of the request; an export that breaks off is no whole archive.',
      params: RunParams,
      response: {
        200: {
          description: 'The archive',
          content: { 'application/gzip': { schema: z.string().meta({ format: 'binary' }) } },
        },
        ...problems('run_not_found', 'redacted_meanwhile', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      const sent = (await audit.exportRun(runId)).map((archive) => {
        reply.header('content-disposition', `attachment; filename="retrai-run-${runId}.tar.gz"`)
        return sendStream(reply, 'application/gzip', archive)
      })
      return sendResult(request, reply, sent, auditProblem)
    },
  })
}
