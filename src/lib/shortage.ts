import { codeOf } from './message-of.ts'

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
