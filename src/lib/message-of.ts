/** The text of whatever was thrown or returned as an error. */
export function messageOf(cause: unknown): string {
  const hasMessage = typeof cause === 'object' && cause !== null && 'message' in cause
  return String(hasMessage ? cause.message : cause)
}
