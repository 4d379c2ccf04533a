import type { ZodError } from 'zod'

/** The text of whatever was thrown or returned as an error. */
export function messageOf(cause: unknown): string {
  const hasMessage = typeof cause === 'object' && cause !== null && 'message' in cause
  return String(hasMessage ? cause.message : cause)
}

/** The code of an error of the system, such as `ENOENT`; null if it has none. */
export const codeOf = (cause: unknown): string | null =>
  cause instanceof Error && 'code' in cause ? String(cause.code) : null

/** Errors for lack of descriptors, memory or processes. The shortage may be over in a moment. */
const SHORTAGES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM'])

/** The error code if the system is short of something; null if the error has another cause. */
export function shortageOf(cause: unknown): string | null {
  const code = codeOf(cause)
  return SHORTAGES.has(code) ? code : null
}

/** Throws the error again if the system is short of something: what could not be read is not missing. */
export function throwIfShort(cause: unknown): void {
  if (shortageOf(cause) !== null) throw cause
}

/** What is wrong with a value that does not fit its schema, each issue after its place. */
const issuesOf = ({ issues }: ZodError): string[] =>
  issues.map(({ path, message }) =>
    [path.map(String).join('.'), message].filter(Boolean).join(': '),
  )

/** All that is wrong. */
export const issuesText = (error: ZodError): string => issuesOf(error).join('; ')

/** What is wrong first. */
export const firstIssueOf = (error: ZodError): string => issuesOf(error)[0] ?? 'it is not valid'
