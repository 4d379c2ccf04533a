import { createHash, type KeyObject, verify } from 'node:crypto'

/** Leaves and nodes of a Merkle tree begin with different bytes, so neither can be taken for the other. */
const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

/** The hash of a leaf with this content (RFC 6962). */
export const hashOfLeaf = (content: string): Buffer =>
  createHash('sha256').update(LEAF).update(content).digest()

/** The hash of a node over two others. */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer =>
  createHash('sha256').update(NODE).update(left).update(right).digest()

/** The largest power of two below `size`, where a tree of that size is split. */
export function splitOf(size: number): number {
  let half = 1
  while (half * 2 < size) half *= 2
  return half
}

/** The root of the tree of `size` leaves with this leaf at this place; null if no such path leads to a root. */
export function rootOfPath(
  leaf: Buffer,
  index: number,
  size: number,
  path: readonly Buffer[],
): Buffer | null {
  const sibling = path.at(-1)
  const rest = path.slice(0, -1)
  if (size <= 1) return index < size && sibling === undefined ? leaf : null
  const middle = splitOf(size)
  const isLeft = index < middle
  const below = isLeft
    ? rootOfPath(leaf, index, middle, rest)
    : rootOfPath(leaf, index - middle, size - middle, rest)
  if (below === null || sibling === undefined) return null
  return isLeft ? nodeHash(below, sibling) : nodeHash(sibling, below)
}

/**
 * Signed notes of C2SP: `signed-note`, `tlog-checkpoint` and `tlog-cosignature`, with Ed25519. A reader ignores what is
 * signed by other algorithms, so that notes can carry them too.
 */
export const ALGORITHMS = { ed25519: 0x01, cosignature: 0x04 } as const
export type Algorithm = keyof typeof ALGORITHMS

/** A public key and what it is for: `cosignature` keys sign checkpoints with the time. */
export type NoteKey = {
  readonly name: string
  readonly algorithm: Algorithm
  /** 8 hex digits. Name and id tell whose signature it is, and prove nothing. */
  readonly id: string
  readonly key: KeyObject
  /** The key as people write it: `<name>+<id>+<base64>`. */
  readonly line: string
}

/** What comes before the 32 bytes of an Ed25519 key in DER (SubjectPublicKeyInfo). */
export const DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const ID_BYTES = 4
const SIGNATURE_BYTES = 64
/** What comes before a cosignature: the seconds since the epoch. */
export const TIME_BYTES = 8

export function noteKey(name: string, algorithm: Algorithm, key: KeyObject): NoteKey {
  const raw = key.export({ type: 'spki', format: 'der' }).subarray(DER_PREFIX.length)
  const typed = Buffer.concat([Buffer.of(ALGORITHMS[algorithm]), raw])
  const id = createHash('sha256').update(`${name}\n`).update(typed).digest('hex').slice(0, 8)
  return { name, algorithm, id, key, line: `${name}+${id}+${typed.toString('base64')}` }
}

/** A signature below a note; `bytes` are without the id of the key. */
export type NoteSignature = Pick<NoteKey, 'name' | 'id'> & { readonly bytes: Buffer }
export type SignedNote = { readonly text: string; readonly signatures: readonly NoteSignature[] }

const MAX_SIGNATURES = 100
const SIGNATURE_LINE = /^— ([^\s\u0085+]+) ([A-Za-z\d+/]+={0,2})$/

/** Null if the text is not a signed note. */
export function readNote(content: string): SignedNote | null {
  const end = content.lastIndexOf('\n\n') + 1
  const lines = content.slice(end + 1).split('\n')
  const isNote = end > 0 && lines.pop() === '' && lines.length <= MAX_SIGNATURES
  if (!isNote || [...content].some((each) => each < ' ' && each !== '\n')) return null
  const signatures = readSignatures(lines)
  return signatures === null ? null : { text: content.slice(0, end), signatures }
}

/** Reads lines with signatures, without their ends; null if there is none, or one is not a signature. */
export function readSignatures(lines: readonly string[]): readonly NoteSignature[] | null {
  const signatures = lines.flatMap((line): NoteSignature[] => {
    const [, name = '', base64 = ''] = SIGNATURE_LINE.exec(line) ?? []
    const all = Buffer.from(base64, 'base64')
    if (all.length <= ID_BYTES || all.toString('base64') !== base64) return []
    const id = all.subarray(0, ID_BYTES).toString('hex')
    return [{ name, id, bytes: all.subarray(ID_BYTES) }]
  })
  return signatures.length === 0 || signatures.length < lines.length ? null : signatures
}

export const cosignedText = (text: string, seconds: bigint): string =>
  `cosignature/v1\ntime ${seconds}\n${text}`

/** `at`: when a cosignature was made, milliseconds since the epoch; 0 for another signature. */
type Checked = { readonly type: 'good'; readonly at: number } | { readonly type: 'none' | 'bad' }

/** Whether the key has signed the note. Of several signatures of one key, all must be good. */
export function checkNote({ text, signatures }: SignedNote, key: NoteKey): Checked {
  const own = signatures.filter(({ name, id }) => name === key.name && id === key.id)
  if (own.length === 0) return { type: 'none' }
  const times = own.map(({ bytes }) => timeOf(text, bytes, key))
  const isBad = times.includes(null)
  return isBad ? { type: 'bad' } : { type: 'good', at: Math.max(...times.map(Number)) }
}

function timeOf(text: string, bytes: Buffer, { key, algorithm }: NoteKey): number | null {
  const timed = algorithm === 'cosignature' ? TIME_BYTES : 0
  if (bytes.length !== timed + SIGNATURE_BYTES) return null
  const seconds = timed === 0 ? 0n : bytes.readBigUInt64BE()
  const signed = timed === 0 ? text : cosignedText(text, seconds)
  const isGood = verify(null, Buffer.from(signed), key, bytes.subarray(timed))
  return isGood && seconds < 2n ** 63n ? Number(seconds) * 1000 : null
}

/** What a checkpoint of C2SP is about: the tree of a log. */
export type TreeHead = { readonly origin: string; readonly size: number; readonly root: Buffer }

/** Null if the text of a note is not a checkpoint. Further lines have no meaning here. */
export function readTreeHead(text: string): TreeHead | null {
  const [origin = '', size = '', base64 = '', ...more] = text.split('\n')
  const root = Buffer.from(base64, 'base64')
  const isRoot = root.length === 32 && root.toString('base64') === base64
  const isSize = /^(?:0|[1-9]\d{0,15})$/.test(size) && Number.isSafeInteger(Number(size))
  const isWhole = more.pop() === '' && !more.includes('')
  return origin !== '' && isSize && isRoot && isWhole ? { origin, size: Number(size), root } : null
}

/** A note about a tree. */
export type TreeNote = { readonly note: SignedNote; readonly head: TreeHead }

/** Null if the text is no such note. */
export function readTreeNote(content: string): TreeNote | null {
  const note = readNote(content)
  const head = note && readTreeHead(note.text)
  return note && head && { note, head }
}
