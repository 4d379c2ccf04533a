import { err, ok, type Result } from 'neverthrow'

/**
 * What a route with `attachValidation` was asked; the error is one or more sentences for a person. For
 * where the answer to a bad query is no HTTP response.
 */
export function asked<T>(request: {
  readonly query: T
  readonly validationError?: Error
}): Result<T, string> {
  const { query, validationError } = request
  return validationError === undefined ? ok(query) : err(validationError.message)
}
