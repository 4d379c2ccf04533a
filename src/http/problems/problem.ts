import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Result } from 'neverthrow'
import * as z from 'zod'
import { CATALOGUE, type ProblemCode } from '../../api/problem-codes.ts'

/** What is wrong with one field of a request. `message` is a whole sentence for a person. */
export type FieldProblem = { readonly field: string; readonly message: string }

export type Problem = {
  readonly code: ProblemCode
  /** One sentence or more for a person, in place of the catalogue's. */
  readonly detail?: string
  readonly errors?: readonly FieldProblem[]
}

/** A problem that is met where there is nothing to answer it on, such as in the making of a stream. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail ?? problem.code)
    this.problem = problem
  }
}

/** RFC 9457. */
export const ProblemDocument = z
  .object({
    type: z.string().describe('Identifies the kind of problem: urn:retrai:problem:<code>'),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('For a person: what is wrong and what to do'),
    instance: z.string().describe('The address that was asked for'),
    errors: z
      .array(z.object({ field: z.string(), message: z.string() }))
      .optional()
      .describe('Every problem of an invalid request'),
  })
  .register(z.globalRegistry, {
    id: 'Problem',
    description: 'A problem document, RFC 9457',
    examples: [
      {
        type: 'urn:retrai:problem:invalid_request',
        title: 'Invalid request',
        status: 422,
        detail: 'max_iterations must be at least 1.',
        instance: '/api/runs',
        errors: [{ field: 'max_iterations', message: 'max_iterations must be at least 1.' }],
      },
    ],
  })
type ProblemDocument = z.infer<typeof ProblemDocument>

const typeOf = (code: ProblemCode): string => `urn:retrai:problem:${code}`

export function problemDocument(
  { code, detail, errors }: Problem,
  instance: string,
): ProblemDocument {
  const [status, title, usual] = CATALOGUE[code]
  return {
    type: typeOf(code),
    title,
    status,
    detail: detail ?? usual,
    instance,
    ...(errors === undefined ? {} : { errors: [...errors] }),
  }
}

export const RETRY_AFTER_SECONDS = '1'
/** Statuses of what may be over in a moment. */
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

/**
 * What a handler returns for a result: its value, or an answer with the problem.
 * @param problemOf the problem that an error is for the client, if it is none yet
 */
export async function sendResult<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  result: Result<T, Problem> | PromiseLike<Result<T, Problem>>,
): Promise<T | FastifyReply>
export async function sendResult<T, E>(
  request: FastifyRequest,
  reply: FastifyReply,
  result: Result<T, E> | PromiseLike<Result<T, E>>,
  problemOf: (error: E, request: FastifyRequest) => Problem,
): Promise<T | FastifyReply>
export async function sendResult<T, E extends Problem>(
  request: FastifyRequest,
  reply: FastifyReply,
  result: Result<T, E> | PromiseLike<Result<T, E>>,
  problemOf: (error: E, request: FastifyRequest) => Problem = (problem) => problem,
): Promise<T | FastifyReply> {
  const settled = await result
  return settled.isOk()
    ? settled.value
    : sendProblem(request, reply, problemOf(settled.error, request))
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
    const line = `${title} (\`${typeOf(code)}\`)`
    responses[status] = {
      description: before === undefined ? line : `${before}; ${line}`,
      content: { 'application/problem+json': { schema: ProblemDocument } },
    }
  }
  return responses
}

/** The responses of a route with further ones: where both have a status, its descriptions are joined. */
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

/** Answers a request whose fields are not valid, with every problem named. */
export function sendInvalid(
  request: FastifyRequest,
  reply: FastifyReply,
  errors: readonly FieldProblem[],
) {
  const detail = errors.map(({ message }) => message).join(' ')
  return sendProblem(request, reply, { code: 'invalid_request', detail, errors })
}

/** What can be wrong with every body before its route looks at it. */
export const BODY_PROBLEMS = [
  'malformed_json',
  'too_large',
  'unsupported_media_type',
  'invalid_request',
] as const satisfies readonly ProblemCode[]

/** What can happen to every request that has a body and writes to the log. */
export const COMMAND_PROBLEMS = [
  ...BODY_PROBLEMS,
  'append_too_large',
  'damaged_record',
  'store_unavailable',
  'store_failed',
  'outcome_unknown',
  'busy',
] as const satisfies readonly ProblemCode[]
