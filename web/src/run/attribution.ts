import type { SeqRecord } from './seq-record.ts'

/** Who caused a record; null if no person did, or it is not known. */
export const principalOf = ({ meta }: SeqRecord): string | null => meta?.principal ?? null

/** How many strings of a record were redacted. */
export function redactedIn({ meta }: SeqRecord): number {
  const redacted = meta?.redacted
  return typeof redacted === 'object' && redacted !== null ? Object.keys(redacted).length : 0
}
