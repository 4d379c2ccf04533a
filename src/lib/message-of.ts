/** The text of whatever was thrown or returned as an error. */
export function messageOf(cause: unknown): string {
  const hasMessage = typeof cause === 'object' && cause !== null && 'message' in cause
  return String(hasMessage ? cause.message : cause)
}

/** The code of an error of the system, such as `ENOENT`; null if it has none. */
export const codeOf = (cause: unknown): string | null =>
  cause instanceof Error && 'code' in cause ? String(cause.code) : null
