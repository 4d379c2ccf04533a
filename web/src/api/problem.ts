import type { ResultAsync } from 'neverthrow'
import type { FieldProblem } from '../../../src/api/problems.ts'
import type { RequestError } from '../../../src/client/index.ts'

/** A failed request as an exception, which the libraries of the page expect. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly error: RequestError

  constructor(error: RequestError) {
    super(wordsOf(error))
    this.error = error
  }
}

function wordsOf(error: RequestError): string {
  if (error.type === 'unreachable') return 'The server cannot be reached. Is it running?'
  // Several fields may have the same problem.
  const messages = error.type === 'refused' ? error.errors.map(({ message }) => message) : []
  return messages.length === 0
    ? error.message
    : [...new Set(messages.map(withoutAddress))].join(' ')
}

/** A message without its last sentence if that names an address of the API: the page shows what is there. */
const withoutAddress = (message: string): string => message.replace(/ GET \/api\/[^.]*\.$/, '')

/** The answer. @throws ApiProblem */
export async function answerOf<T>(answer: ResultAsync<T, RequestError>): Promise<T> {
  const result = await answer
  if (result.isErr()) throw new ApiProblem(result.error)
  return result.value
}

/** Whether a request failed because no answer came. */
export const isSilence = (cause: unknown): boolean =>
  cause instanceof ApiProblem && ['unreachable', 'aborted'].includes(cause.error.type)

/** What is wrong with a field of a request, if anything. `exact`: not with a field inside it. */
export type FieldProblemOf = (field: string, exact?: 'exact') => string | undefined

/** What is wrong with the fields of a request, by the server's answer. */
export const problemsIn =
  (cause: unknown): FieldProblemOf =>
  (field, exact) => {
    if (!(cause instanceof ApiProblem) || cause.error.type !== 'refused') return undefined
    const isIn = (name: string) => exact === undefined && name.startsWith(`${field}.`)
    const found = cause.error.errors.find((one) => one.field === field || isIn(one.field))
    return found === undefined ? undefined : besideField(field, found)
  }

/** The message of a problem beside a field, without the name of that field. The path of a field inside it stays. */
function besideField(beside: string, { field, message }: FieldProblem): string {
  const words = withoutAddress(message)
  if (!words.startsWith(`${field} `)) return words
  const rest = words.slice(beside.length + 1)
  return field === beside ? `${rest.charAt(0).toUpperCase()}${rest.slice(1)}` : rest
}

/** A message for a person about anything that was thrown. */
export const messageOf = (cause: unknown): string =>
  cause instanceof Error ? withoutAddress(cause.message) : String(cause)
