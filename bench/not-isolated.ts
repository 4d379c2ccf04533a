import { NO_ISOLATION } from '../src/runner/isolation/isolation.ts'
import { EVERYTHING } from '../src/runner/isolation/policy.ts'
import { policyOf } from '../src/runner/isolation/run-policy.ts'
import { DEFAULT_LIMITS } from '../src/runner/run-command.ts'

/** What commands may do on a server that does not isolate them. */
export const NOT_ISOLATED = policyOf(NO_ISOLATION, EVERYTHING, DEFAULT_LIMITS)
