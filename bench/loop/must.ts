import type { Result } from 'neverthrow'

/** In a bench nothing may fail: an error ends it. */
export function must<T, E>(result: Result<T, E>): T {
  if (result.isErr()) throw new Error(JSON.stringify(result.error))
  return result.value
}
