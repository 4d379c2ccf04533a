import type { FastifyRequest } from 'fastify'
import type { ProblemCode } from '../../api/problem-codes.ts'
import type { AuditError } from '../../audit/audit.ts'
import { commandProblem } from './command-problem.ts'
import type { Problem } from './problem.ts'

/** The problem that an error is for an auditor. An error of the server itself is logged, too. */
export function auditProblem(error: AuditError, request: FastifyRequest): Problem {
  if (error.type === 'redacted_meanwhile') return { code: error.type }
  const problem: Problem =
    error.type === 'keyring_failed' ? { code: 'keys_unusable' } : commandProblem(error)
  if (problem.code !== 'run_not_found') request.log.error({ error }, 'an audit failed')
  return problem
}

/** What can happen to everything that an auditor asks for. */
export const AUDIT_PROBLEMS = [
  'keys_unusable',
  'damaged_record',
  'store_unavailable',
  'store_failed',
] as const satisfies readonly ProblemCode[]
