import { readTreeNote, type SignedNote, type TreeNote } from '../../lib/note-check.ts'
import { noteOf } from '../../lib/signed-note.ts'

/** What a log sends to a witness (C2SP tlog-witness): a tree, and the proof that it begins with an older one. */
export type AddCheckpoint = {
  /** The size of the older tree. */
  readonly old: number
  readonly proof: readonly Buffer[]
  readonly note: SignedNote
}

export const addCheckpointText = ({ old, proof, note }: AddCheckpoint): string =>
  [`old ${old}`, ...proof.map((hash) => hash.toString('base64')), '', noteOf(note)].join('\n')

const MAX_PROOF = 63
const HASH = /^[A-Za-z\d+/]{43}=$/

/** Null if the text is not such a request. */
export function readAddCheckpoint(text: string): (AddCheckpoint & TreeNote) | null {
  const end = text.indexOf('\n\n')
  const [first = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\n')
  const old = readSize(/^old (.*)$/.exec(first)?.[1] ?? '')
  const proof = lines.map((line) => Buffer.from(line, 'base64'))
  const signed = readTreeNote(text.slice(end + 2))
  const isProof = lines.length <= MAX_PROOF && lines.every((line) => HASH.test(line))
  return old === null || !isProof || signed === null ? null : { old, proof, ...signed }
}

/** The size of a tree in decimal digits; null for any other text. */
export const readSize = (text: string): number | null =>
  /^(?:0|[1-9]\d{0,14})$/.test(text) ? Number(text) : null
