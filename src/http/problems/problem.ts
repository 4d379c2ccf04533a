import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Problem, type ProblemDocument, problemDocument } from '../../api/problems.ts'

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
