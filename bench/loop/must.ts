import type { Result } from 'neverthrow'

/** The value of a result. An error ends the bench. */
export function must<T, E>(result: Result<T, E>): T {
  if (result.isErr()) throw new Error(JSON.stringify(result.error))
  return result.value
}
