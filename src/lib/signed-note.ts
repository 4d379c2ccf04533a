import { createPublicKey } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import {
  ALGORITHMS,
  type Algorithm,
  cosignedText,
  DER_PREFIX,
  type NoteKey,
  type NoteSignature,
  noteKey,
  type SignedNote,
  TIME_BYTES,
  type TreeHead,
} from './note-check.ts'

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

export const treeHeadText = ({ origin, size, root }: TreeHead): string =>
  `${origin}\n${size}\n${root.toString('base64')}\n`
