import type { AgentEvent, Kind } from '../../../src/client/index.ts'

/** A record as observers get it: with its place in the stream. Its kind determines its payload. */
export type SeqRecordOf<K extends Kind> = AgentEvent<K>
export type SeqRecord = { [K in Kind]: AgentEvent<K> }[Kind]
