import { policyOf } from '../src/runner/command.ts'
import { DEFAULT_LIMITS } from '../src/runner/run-command.ts'
import { NO_ISOLATION } from '../src/sandbox/isolation.ts'
import { EVERYTHING } from '../src/sandbox/sandbox.ts'

/** What commands may do on a server that does not isolate them. */
export const NOT_ISOLATED = policyOf(NO_ISOLATION, EVERYTHING, DEFAULT_LIMITS)
