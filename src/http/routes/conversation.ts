import * as z from 'zod'
import { Seq } from '../../api/event-query.ts'
import { SentConversation, type SentMessage } from '../../api/history.ts'
import { RunParams } from '../../api/run-id.ts'
import type { ChatMessage } from '../../domain/conversation.ts'
import { sentConversation } from '../../queries/conversation.ts'
import type { AppDeps } from '../deps.ts'
import { queryProblem } from '../problems/command-problem.ts'
import { problems, sendProblem } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'

const DescribedConversation = SentConversation.meta({
  id: 'SentConversation',
  examples: [
    {
      run_id: '550e8400-e29b-41d4-a716-446655440000',
      model_name: 'claude-sonnet-4-6',
      request: 'answered',
      as_of: 2,
      answered_by: 4,
      messages: [
        { role: 'system', content: 'You work on a project until its goal is reached. …' },
        { role: 'user', content: 'Work towards the goal pytest in the project at /my/project.' },
      ],
      omitted_turns: 0,
      tools: [
        {
          name: 'git_status',
          description: 'Show which files have changed.',
          parameters: { type: 'object', properties: {} },
        },
      ],
    },
  ],
})

const DESCRIPTION = `
The request to the model whose reply is the first \`assistant_message\` at or behind \`at\`: point at a reply to
see what led to it, at anything else to see what came next. Where there is no such reply, the request
that is or would be made as the log stands (and so without \`at\`).

Messages and omitted turns are what the log says was sent. How they are written for a provider is not
shown: call ids and tool names are brought into the form that it takes, and empty texts are filled.
`

/** GET /api/runs/{run_id}/conversation */
export function conversation(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/conversation',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'readConversation',
      tags: ['history'],
      summary: 'What the model was sent at a moment of a run',
      description: DESCRIPTION,
      params: RunParams,
      querystring: z.strictObject({
        at: Seq.optional().meta({ description: 'seq of a record', examples: ['4'] }),
      }),
      response: {
        200: DescribedConversation,
        ...problems(
          'invalid_request',
          'run_not_found',
          'record_not_found',
          'damaged_record',
          'store_unavailable',
          'store_failed',
        ),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      const sent = await sentConversation(runId, request.query.at ?? null, deps)
      if (sent.isErr()) return sendProblem(request, reply, queryProblem(sent.error))
      const { modelName, asOf, answeredBy, messages, omittedTurns } = sent.value
      return {
        run_id: runId,
        model_name: modelName,
        request: sent.value.request,
        as_of: asOf,
        answered_by: answeredBy,
        messages: messages.map(shown),
        omitted_turns: omittedTurns,
        tools: [...deps.tools],
      }
    },
  })
}

function shown(message: ChatMessage): SentMessage {
  switch (message.role) {
    case 'system':
    case 'user':
      return message
    case 'assistant': {
      const calls = message.calls.map(({ id, tool, args }) => ({ call_id: id, tool, args }))
      return { role: 'assistant', content: message.content, tool_calls: calls }
    }
    case 'tool':
      return { role: 'tool', call_id: message.callId, content: message.content }
  }
}
