import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { expect, test } from 'vitest'
import { checkNote, noteKey, readNote, readTreeHead } from '../../src/lib/note-check.ts'
import { noteOf, readNoteKey, signNote, treeHeadText } from '../../src/lib/signed-note.ts'

/** The examples of C2SP: a note with its key, a note, and a checkpoint with a cosignature. */
const KEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'
const NOTE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`
const POEM = `Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
`
const COSIGNED = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
`
const key = readNoteKey(KEY, 'ed25519')._unsafeUnwrap()
const read = (content: string) => {
  const note = readNote(content)
  if (note === null) throw new Error(`no note: ${content}`)
  return note
}

test('the key of the specification verifies its note, and no other text', () => {
  expect(key).toMatchObject({ name: 'example.com/foo', id: '530d903a', algorithm: 'ed25519' })
  expect(checkNote(read(NOTE), key)).toEqual({ type: 'good', at: 0 })
  expect(checkNote(read(NOTE.replace('an ', 'a ')), key)).toEqual({ type: 'bad' })
  expect(checkNote(read(POEM), key)).toEqual({ type: 'none' })
})

test('notes are read and written byte for byte', () => {
  for (const note of [NOTE, POEM, COSIGNED]) expect(noteOf(read(note))).toBe(note)
  expect(read(POEM).text).toBe(POEM.slice(0, POEM.indexOf('\n—')))
})

test('a checkpoint of the specification is read with the time of its cosignature', () => {
  const { text, signatures } = read(COSIGNED)
  const head = readTreeHead(text)
  expect(head).toMatchObject({ origin: 'example.com/behind-the-sofa', size: 20_852_163 })
  expect(head && treeHeadText(head)).toBe(text)
  expect(signatures.map(({ name, bytes }) => [name, bytes.length])).toEqual([
    ['example.com/behind-the-sofa', 64],
    ['witness.example.com/w1', 72],
  ])
  expect(signatures[1]?.bytes.readBigUInt64BE()).toBe(1_679_315_147n)
})

test('a cosignature is over the text that the specification names, and has the time of signing', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const witness = noteKey('witness.example/w1', 'cosignature', publicKey)
  const { text } = read(COSIGNED)
  const signed: string[] = []
  const by = (content: string) => {
    signed.push(content)
    return sign(null, Buffer.from(content), privateKey).toString('hex')
  }
  const at = new Date('2023-03-20T12:25:47.900Z')
  const note = { text, signatures: [signNote(witness, text, by, at)] }
  expect(signed).toEqual([`cosignature/v1\ntime 1679315147\n${text}`])
  expect(checkNote(note, witness)).toEqual({ type: 'good', at: 1_679_315_147_000 })
  const later = Buffer.from(note.signatures[0]?.bytes ?? '')
  later.writeBigUInt64BE(1_679_315_148n)
  const forged = { text, signatures: [{ ...witness, bytes: later }] }
  expect(checkNote(forged, witness)).toEqual({ type: 'bad' })
  expect(
    checkNote({ text, signatures: [...note.signatures, ...forged.signatures] }, witness),
  ).toEqual({ type: 'bad' })
  // The same key for another purpose is another key.
  expect(checkNote(note, noteKey('witness.example/w1', 'ed25519', publicKey)).type).toBe('none')
})

test('the key of the Go implementation signs what that signs', () => {
  const seed = Buffer.from('AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz', 'base64').subarray(1)
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
  const secret = createPrivateKey({ key: der, type: 'pkcs8', format: 'der' })
  const peter = noteKey('PeterNeumann', 'ed25519', createPublicKey(secret))
  expect(peter.line).toBe('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
  const text =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
  const by = (content: string) => sign(null, Buffer.from(content), secret).toString('hex')
  expect(noteOf({ text, signatures: [signNote(peter, text, by, new Date())] })).toBe(
    `${text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`,
  )
})

test.each([
  ['without signatures', 'text\n'],
  ['without an empty line', NOTE.replace('\n\n', '\n')],
  ['with a signature that is cut off', NOTE.slice(0, -2)],
  ['with a line that is no signature', `${NOTE}hello\n`],
  ['with a control character', NOTE.replace('an', 'a\t')],
  ['with another dash', NOTE.replace('—', '-')],
  ['with a space in the name', NOTE.replace('com/foo', 'com foo')],
  ['with digits that are not the shortest', NOTE.replace('aQM=', 'aQN=')],
  ['with only the id of a key', 'text\n\n— a Uw2QOg==\n'],
])('a note %s is refused', (_how, content) => {
  expect(readNote(content)).toBeNull()
})

test.each([
  ['with another id', KEY.replace('530d903a', '530d903b')],
  ['in upper case', KEY.replace('530d903a', '530D903A')],
  ['of another name', KEY.replace('foo', 'bar')],
  ['of another type', KEY.replace('+Aek', '+Bek')],
  ['that is cut off', KEY.slice(0, -4)],
  ['without a name', KEY.slice(KEY.indexOf('+'))],
  ['with a space in its name', KEY.replace('/', ' ')],
])('a key %s is refused', (_how, line) => {
  expect(readNoteKey(line, 'ed25519').isErr()).toBe(true)
})

test.each([
  ['a size with a zero before it', (text: string) => text.replace('20852163', '020852163')],
  ['a negative size', (text: string) => text.replace('20852163', '-1')],
  ['a size beyond all numbers', (text: string) => text.replace('20852163', '9007199254740993')],
  ['a short root', (text: string) => text.replace('CsUY', '')],
  ['no origin', (text: string) => text.slice(text.indexOf('\n'))],
  ['an empty line', (text: string) => `${text}\n`],
])('a checkpoint with %s is refused', (_how, change) => {
  expect(readTreeHead(change(read(COSIGNED).text))).toBeNull()
})

test('further lines of a checkpoint are signed, and have no meaning', () => {
  expect(readTreeHead(`${read(COSIGNED).text}more\n`)).toMatchObject({ size: 20_852_163 })
})
