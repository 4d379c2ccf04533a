import type { TokenFailure } from '../../auth/auth.ts'
import { commandProblem } from './command-problem.ts'
import type { Problem } from './problem.ts'

/** How each way in which a token is not made or revoked is told to a client. */
export function tokenProblem(error: TokenFailure): Problem {
  switch (error.type) {
    case 'token_not_found':
    case 'admin_needed':
      return { code: error.type }
    case 'name_taken': {
      const detail = `The name "${error.name}" is taken: there is or was a token of that name, or it means something else in the log. Choose another one.`
      return { code: 'name_taken', detail }
    }
    default:
      return commandProblem(error)
  }
}
