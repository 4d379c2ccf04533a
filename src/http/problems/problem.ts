import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Result } from 'neverthrow'
import type * as z from 'zod'
import {
  CATALOGUE,
  type Problem,
  type ProblemCode,
  ProblemDocument,
  problemDocument,
  problemType,
} from '../../api/problems.ts'

/** A problem, as an error: for code that has no reply to send it with, such as the source of a stream. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError'
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail ?? problem.code)
    this.problem = problem
  }
}

export const RETRY_AFTER_SECONDS = '1'
/** Statuses of problems that may be over in a moment. */
export const isPassing = (status: number): boolean => status === 429 || status === 503

export function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem) {
  const document = problemDocument(problem, request.url)
  if (isPassing(document.status)) reply.header('retry-after', RETRY_AFTER_SECONDS)
  return reply
    .code(document.status)
    .type('application/problem+json')
    .serializer((body: ProblemDocument) => JSON.stringify(body))
    .send(document)
}

/** The one way from a result to a reply: a handler returns what this returns, the value or a reply with the problem. */
export async function sendResult<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  result: Result<T, Problem> | PromiseLike<Result<T, Problem>>,
): Promise<T | FastifyReply> {
  const settled = await result
  return settled.isOk() ? settled.value : sendProblem(request, reply, settled.error)
}

type ProblemResponse = {
  description: string
  content: { 'application/problem+json': { schema: typeof ProblemDocument } }
}

/** The response schemas of these problems, by status, for the description of a route. */
export function problems(...codes: ProblemCode[]): Record<number, ProblemResponse> {
  const responses: Record<number, ProblemResponse> = {}
  for (const code of codes) {
    const [status, title] = CATALOGUE[code]
    const before = responses[status]?.description
    const line = `${title} (\`${problemType(code)}\`)`
    responses[status] = {
      description: before === undefined ? line : `${before}; ${line}`,
      content: { 'application/problem+json': { schema: ProblemDocument } },
    }
  }
  return responses
}

/** A response with a description, for the description of a route. */
export const described = <S extends z.ZodType, T extends string = 'application/json'>(
  description: string,
  schema: S,
  type = 'application/json' as T,
) => ({ description, content: { [type]: { schema } } as Record<T, { schema: S }> })

/** The responses of a route with further ones. If both have a status, their descriptions are joined. */
export function withProblems(
  described: Readonly<Record<string, unknown>>,
  further: Record<number, ProblemResponse>,
): Record<string, unknown> {
  const all: Record<string, unknown> = { ...further, ...described }
  for (const [status, { description }] of Object.entries(further)) {
    const own = described[status]
    const isProblem = typeof own === 'object' && own !== null && 'description' in own
    if (isProblem) all[status] = { ...own, description: `${own.description}; ${description}` }
  }
  return all
}

/** The problems that every body can have before its route handles it. */
export const BODY_PROBLEMS = [
  'malformed_json',
  'too_large',
  'unsupported_media_type',
  'invalid_request',
] as const satisfies readonly ProblemCode[]

/** The problems of every request with a body that writes to the log. */
export const COMMAND_PROBLEMS = [
  ...BODY_PROBLEMS,
  'append_too_large',
  'damaged_record',
  'store_unavailable',
  'store_failed',
  'outcome_unknown',
  'busy',
] as const satisfies readonly ProblemCode[]

/** The problems of every request that reads records from the store. */
export const READ_PROBLEMS = [
  'damaged_record',
  'store_unavailable',
  'store_failed',
] as const satisfies readonly ProblemCode[]

/** The problems that every request of an auditor can have. */
export const AUDIT_PROBLEMS = [
  'keys_unusable',
  ...READ_PROBLEMS,
] as const satisfies readonly ProblemCode[]
