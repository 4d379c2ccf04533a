import type { AgentEvent, Kind } from '../../../src/client/index.ts'

/** A record as observers get it: with its place in the stream. Its kind determines its payload. */
export type SeqRecordOf<K extends Kind> = AgentEvent<K>
export type SeqRecord = { [K in Kind]: AgentEvent<K> }[Kind]

/** Who caused a record; null if no person did, or it is not known. */
export const principalOf = ({ meta }: SeqRecord): string | null => meta?.principal ?? null

/** How many strings of a record were redacted. */
export function redactedIn({ meta }: SeqRecord): number {
  const redacted = meta?.redacted
  return typeof redacted === 'object' && redacted !== null ? Object.keys(redacted).length : 0
}
