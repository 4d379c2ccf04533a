import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { err, ok, type Result, ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { RunDiff, SentConversation, type SentMessage } from '../../api/history.ts'
import { ArtifactParams, ConversationQuery, DiffQuery } from '../../api/run-requests.ts'
import type { ChatMessage } from '../../domain/conversation.ts'
import { FileChanges } from '../../domain/file-changes.ts'
import { present } from '../../domain/present.ts'
import { namesArtifact } from '../../log/lineage.ts'
import { runIdOf, streamOf } from '../../log/run-log.ts'
import { fieldChanges, runDetails } from '../../queries/run-details.ts'
import { sentConversation, stateAt, walk } from '../../queries/run-history.ts'
import { hiddenFrom } from '../acceptance.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import {
  invalidField,
  orProblem,
  type Refusal,
  removedProblem,
  unreachable,
} from '../problems/problem-of.ts'
import { sendStream } from '../replies/format.ts'
import { findRun } from './commands.ts'

const CONVERSATION = `
The answer is the request to the model whose reply is the first \`assistant_message\` at or after \`at\`: with the seq of
a reply, what led to it; with any other seq, what came next. If there is no such reply, and without \`at\`, it is the
request that the server sends or would send next.

Messages and omitted turns are what was sent, by the log. The form in which a provider gets them is not shown: the
server changes call ids and tool names to the form that the provider accepts, and fills empty texts.
`

/** What happened in a run. */
export function history(app: FastifyInstance, deps: AppDeps): void {
  operation(app, 'GET /api/runs/:run_id/diff', {
    needs: 'runs:read',
    id: 'diffRun',
    tag: 'history',
    summary: 'What changed between two records of a run',
    description:
      '`from` and `to` are the seqs of two records: the answer compares the run after the one with the run ' +
      'after the other, and names the files that calls between them name. GET /api/runs/{run_id}/changes says what ' +
      'happened to files, whatever did it.',
    query: DiffQuery,
    answers: { 200: described('The changes', RunDiff) },
    handle: ({ runId, query }) => diff(runId, query, deps),
  })
  operation(app, 'GET /api/runs/:run_id/conversation', {
    needs: 'runs:read',
    id: 'readConversation',
    tag: 'history',
    summary: 'What the model was sent at a record of a run',
    description: CONVERSATION,
    query: ConversationQuery,
    answers: { 200: described('The request to the model', SentConversation) },
    handle: ({ runId, query }) => conversation(runId, query.at ?? null, deps),
  })
  operation(app, 'GET /api/runs/:run_id/artifacts/:sha256', {
    needs: 'runs:read',
    id: 'readArtifact',
    tag: 'history',
    summary: 'Read the whole output of a tool call',
    description:
      'If an output is too long for the log, its tool result holds the head, the tail and the SHA-256 of ' +
      'the whole output, which is kept as an artifact. The server serves an output only if a record of ' +
      'this run names it.',
    params: ArtifactParams,
    answers: { 200: described('The output, as a file', z.string(), 'text/plain') },
    handle: (request, reply) => sendArtifact(request, reply, request.params.sha256, deps),
  })
}

const diff = (
  runId: string,
  { from, to }: z.output<typeof DiffQuery>,
  deps: AppDeps,
): ResultAsync<RunDiff, Refusal> =>
  safeTry(async function* () {
    if (from > to) {
      const message = `from must not be after to: ${from} is more than ${to}.`
      return err(invalidField('from', message))
    }
    const before = runDetails(yield* await stateAt(runId, from, deps))
    const after = runDetails(yield* await stateAt(runId, to, deps))
    const changes = new FileChanges()
    yield* await walk(runId, [from + 1, to], deps, ({ seq, record }) => changes.add(seq, record))
    const fields = fieldChanges(before, after)
    return ok({ run_id: runId, from, to, changes: fields, files: changes.files() })
  })

async function conversation(
  runId: string,
  at: number | null,
  deps: AppDeps,
): Promise<Result<SentConversation, Refusal>> {
  const sent = await sentConversation(runId, at, deps)
  return sent
    .map(({ messages, tools, excluded, ...request }) => ({
      run_id: runId,
      ...request,
      messages: messages.map(sentMessage),
      tools: [
        ...deps.tools.filter(({ name }) => !excluded.includes(name)),
        ...tools.map(({ server: _, ...tool }) => tool),
      ],
    }))
    .mapErr((error) => {
      // The run may begin from one that was removed, with the conversation up to there.
      const isGone = error.type === 'damaged_record' && error.stream !== streamOf(runId)
      const removal = isGone ? deps.retention.removalOf(runIdOf(error.stream)) : undefined
      return removal === undefined ? error : removedProblem(removal)
    })
}

function sentMessage(message: ChatMessage): SentMessage {
  switch (message.role) {
    case 'system':
    case 'user':
      return { role: message.role, content: message.content }
    case 'assistant': {
      const calls = message.calls.map(({ id, tool, args }) => ({ call_id: id, tool, args }))
      return { role: 'assistant', content: message.content, tool_calls: calls }
    }
    case 'tool':
      return {
        role: 'tool',
        call_id: message.callId,
        content: message.content,
        ...present({ image: message.image }),
      }
  }
}

const sendArtifact = (
  request: FastifyRequest,
  reply: FastifyReply,
  sha256: string,
  deps: AppDeps,
): ResultAsync<FastifyReply, Refusal> =>
  safeTry(async function* () {
    const { state } = (yield* findRun(deps, request.runId)) ?? {}
    const hidden = state && hiddenFrom(request, state, sha256)
    if (hidden) return err(hidden)
    const isNamed =
      state?.config.accept?.sha256 === sha256 ||
      (yield* await namesArtifact(deps.store, request.runId, sha256))
    if (!isNamed) return err({ code: 'artifact_not_found' } as const)
    const found = yield* ResultAsync.fromPromise(deps.artifacts.read(sha256), unreachable)
    const detail = 'The run names this artifact, but it was redacted, or lost.'
    const { bytes, stream } = yield* orProblem({ code: 'artifact_not_found', detail })(found)
    // A tool may print anything, so a browser saves it and does not show it.
    reply.header('content-disposition', `attachment; filename="${sha256}.txt"`)
    reply.header('content-length', bytes)
    return ok(sendStream(reply, 'text/plain; charset=utf-8', stream))
  })
