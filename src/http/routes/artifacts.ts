import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import * as z from 'zod'
import { RunParams } from '../../api/run-id.ts'
import { References } from '../../queries/artifact-index.ts'
import type { AppDeps } from '../deps.ts'
import { queryProblem } from '../problems/command-problem.ts'
import { problems, sendProblem } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'
import { isKnownStill } from './unchanging.ts'

const ArtifactParams = RunParams.extend({
  sha256: z.string().meta({
    description: '`sha256` of a tool_result',
    examples: ['9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'],
  }),
})

/** GET /api/runs/{run_id}/artifacts/{sha256} */
export function readArtifact(app: ZodApp, deps: AppDeps): void {
  const references = new References(deps.store)
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/artifacts/:sha256',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'readArtifact',
      tags: ['history'],
      summary: 'Read the whole output of a tool call',
      description:
        'A tool result whose output is too long for the log holds its head and tail, and the SHA-256 ' +
        'of the whole of it, which is kept beside the log. It is served where a record of this run names it.',
      params: ArtifactParams,
      response: {
        200: {
          description: 'The output, as a file',
          content: { 'text/plain': { schema: z.string() } },
        },
        304: z.undefined().describe('The client has this already'),
        ...problems(
          'run_not_found',
          'artifact_not_found',
          'damaged_record',
          'store_unavailable',
          'store_failed',
        ),
      },
    },
    handler: async (request, reply) => {
      const { sha256 } = request.params
      const { runId } = request
      const named = await references.names(runId, sha256)
      if (named.isErr()) return sendProblem(request, reply, queryProblem(named.error))
      if (!named.value) return sendProblem(request, reply, { code: 'artifact_not_found' })
      const artifact = await deps.artifacts.read(sha256)
      if (artifact === null) {
        const detail =
          'The run names this artifact, but its file is not on this server: it was taken out, or lost.'
        return sendProblem(request, reply, { code: 'artifact_not_found', detail })
      }
      if (isKnownStill(request, reply, `"${sha256}"`)) {
        artifact.stream.destroy()
        return reply.code(304).send()
      }
      return sendFile(reply, sha256, artifact)
    },
  })
}

/** What a tool printed may be anything, so a browser keeps it and does not show it. */
function sendFile(
  reply: FastifyReply,
  sha256: string,
  { bytes, stream }: { readonly bytes: number; readonly stream: Readable },
): FastifyReply {
  return reply
    .type('text/plain; charset=utf-8')
    .header('content-length', bytes)
    .header('content-disposition', `attachment; filename="${sha256}.txt"`)
    .send(stream)
}
