import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'

/**
 * Signed notes of C2SP: `signed-note`, `tlog-checkpoint` and `tlog-cosignature`, with Ed25519. A reader ignores what is
 * signed by other algorithms, so that notes can carry them too.
 */
const ALGORITHMS = { ed25519: 0x01, cosignature: 0x04 } as const
type Algorithm = keyof typeof ALGORITHMS

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
const DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const [ID_BYTES, TIME_BYTES, SIGNATURE_BYTES] = [4, 8, 64] as const

export function noteKey(name: string, algorithm: Algorithm, key: KeyObject): NoteKey {
  const raw = key.export({ type: 'spki', format: 'der' }).subarray(DER_PREFIX.length)
  const typed = Buffer.concat([Buffer.of(ALGORITHMS[algorithm]), raw])
  const id = createHash('sha256').update(`${name}\n`).update(typed).digest('hex').slice(0, 8)
  return { name, algorithm, id, key, line: `${name}+${id}+${typed.toString('base64')}` }
}

const KEY_LINE = /^([^\s\u0085+]+)\+[0-9a-f]{8}\+([A-Za-z\d+/]{44})$/

/** Reads a key as people write it. The error is a part of a sentence. */
export function readNoteKey(line: string, wanted: Algorithm): Result<NoteKey, string> {
  const [, name = '', base64] = KEY_LINE.exec(line) ?? []
  if (base64 === undefined) return err('it is not a key such as <name>+<8 hex digits>+<base64>')
  const [type, ...raw] = Buffer.from(base64, 'base64')
  if (type !== ALGORITHMS[wanted]) {
    return err(`its type is ${type}, and that of an Ed25519 key for this is ${ALGORITHMS[wanted]}`)
  }
  const der = Buffer.concat([DER_PREFIX, Buffer.from(raw)])
  const key = noteKey(name, wanted, createPublicKey({ key: der, type: 'spki', format: 'der' }))
  return key.line === line ? ok(key) : err('its parts do not belong together: is a digit wrong?')
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

/** The line of a signature, with its end. */
export function signatureLine({ name, id, bytes }: NoteSignature): string {
  return `— ${name} ${Buffer.concat([Buffer.from(id, 'hex'), bytes]).toString('base64')}\n`
}

export const noteOf = ({ text, signatures }: SignedNote): string =>
  `${text}\n${signatures.map(signatureLine).join('')}`

/** Signs a text; the result is hex. */
type Sign = (text: string) => string

/** @param now the time that a cosignature names */
export function signNote(
  { name, id, algorithm }: NoteKey,
  text: string,
  sign: Sign,
  now: Date,
): NoteSignature {
  if (algorithm === 'ed25519') return { name, id, bytes: Buffer.from(sign(text), 'hex') }
  const time = Buffer.alloc(TIME_BYTES)
  const seconds = BigInt(Math.floor(now.getTime() / 1000))
  time.writeBigUInt64BE(seconds)
  const signature = Buffer.from(sign(cosignedText(text, seconds)), 'hex')
  return { name, id, bytes: Buffer.concat([time, signature]) }
}

const cosignedText = (text: string, seconds: bigint): string =>
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

export const treeHeadText = ({ origin, size, root }: TreeHead): string =>
  `${origin}\n${size}\n${root.toString('base64')}\n`

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
