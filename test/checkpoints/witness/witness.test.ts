import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { originsIn, readSeen, Witness } from '../../../src/checkpoints/witness/witness.ts'
import { MerkleTree } from '../../../src/lib/merkle-tree.ts'
import { hashOfLeaf, noteKey } from '../../../src/lib/note-check.ts'
import { noteOf, signNote, treeHeadText } from '../../../src/lib/signed-note.ts'
import { testFolder } from '../../store/embedded/support.ts'
import { signaturesBy } from '../../support/spec-witness.ts'

const ORIGIN = 'example.com/log'
const by = (key: KeyObject) => (text: string) => sign(null, Buffer.from(text), key).toString('hex')
const newKeys = () => generateKeyPairSync('ed25519')
const logKeys = newKeys()
const otherKeys = newKeys()
const witnessKeys = newKeys()
const log = noteKey(ORIGIN, 'ed25519', logKeys.publicKey)
const key = noteKey('witness.example', 'cosignature', witnessKeys.publicKey)
const NOW = new Date('2026-02-18T12:00:00.000Z')

let dir: string
const open = (logs = [log]) =>
  new Witness({ dir, key, sign: by(witnessKeys.privateKey), logs, clock: () => NOW })

beforeEach(async () => {
  dir = await testFolder()
})

const treeOf = (size: number, mark = ''): MerkleTree => {
  const tree = new MerkleTree()
  for (let leaf = 0; leaf < size; leaf += 1) tree.append(hashOfLeaf(`${mark}${leaf}`))
  return tree
}

type Change = {
  readonly old?: number
  readonly mark?: string
  readonly origin?: string
  readonly root?: Buffer
  readonly proof?: readonly Buffer[]
  readonly signer?: KeyObject
}

function requestFor(size: number, change: Change = {}): string {
  const { old = 0, mark = '', origin = ORIGIN, signer = logKeys.privateKey } = change
  const tree = treeOf(size, mark)
  const text = treeHeadText({ origin, size, root: change.root ?? tree.root() })
  const named = noteKey(origin, 'ed25519', logKeys.publicKey)
  const note = noteOf({ text, signatures: [signNote(named, text, by(signer), NOW)] })
  const proof = change.proof ?? (old === 0 || old >= size ? [] : tree.consistency(old, size))
  return [`old ${old}`, ...proof.map((hash) => hash.toString('base64')), '', note].join('\n')
}
const noteIn = (request: string) => request.slice(request.indexOf('\n\n') + 2)

test('a tree that continues what was seen is signed with the time, and shown after a restart', async () => {
  const first = requestFor(3)
  const answer = await open().addCheckpoint(first)
  expect(answer.status).toBe(200)
  expect(signaturesBy(noteIn(first) + answer.body, key.line)).toEqual({ count: 1, good: true })
  const second = requestFor(8, { old: 3 })
  expect((await open().addCheckpoint(second)).status).toBe(200)
  // The same tree again is signed again.
  expect((await open().addCheckpoint(requestFor(8, { old: 8 }))).status).toBe(200)
  const hash = createHash('sha256').update(ORIGIN).digest('hex')
  const seen = await readSeen(dir, hash)
  const shown = seen === null ? '' : noteOf(seen.note)
  expect(signaturesBy(shown, key.line).good).toBe(true)
  expect(signaturesBy(shown, log.line).good).toBe(true)
  expect(originsIn(await readdir(dir))).toEqual([hash])
  expect(seen?.head).toEqual({ origin: ORIGIN, size: 8, root: treeOf(8).root() })
  const [file = ''] = await readdir(dir)
  expect((await stat(join(dir, file))).size).toBeLessThan(600)
})

test.each<[number, string, number, Change, string?]>([
  [404, 'of a log that it does not know', 5, { old: 3, origin: 'example.com/other' }],
  [403, 'that another key has signed', 5, { old: 3, signer: otherKeys.privateKey }],
  [400, 'that is smaller than the old one', 2, { old: 3 }],
  [409, 'with an older size', 5, { old: 2 }, '3\n'],
  [409, 'as if it were the first', 5, { old: 0 }, '3\n'],
  [409, 'with a size that was never seen', 5, { old: 4 }, '3\n'],
  [422, 'that does not begin with what was seen', 5, { old: 3, mark: 'x' }],
  [422, 'of the same size with another root', 3, { old: 3, mark: 'x' }],
  [422, 'without a proof', 5, { old: 3, proof: [] }],
  [422, 'with a part of a proof', 5, { old: 3, proof: treeOf(5).consistency(3, 5).slice(1) }],
  [422, 'with more than a proof', 3, { old: 3, proof: [Buffer.alloc(32)] }],
])('answers %i for a tree %s, and keeps what it has', async (status, _what, size, change, body) => {
  const witness = open()
  await witness.addCheckpoint(requestFor(3))
  const kept = await Promise.all((await readdir(dir)).map((name) => readFile(join(dir, name))))
  const answer = await witness.addCheckpoint(requestFor(size, change))
  expect(answer.status).toBe(status)
  if (body !== undefined) expect(answer).toMatchObject({ body, type: 'text/x.tlog.size' })
  const now = await Promise.all((await readdir(dir)).map((name) => readFile(join(dir, name))))
  expect(now).toEqual(kept)
})

test('the first tree needs an empty proof, and an empty tree has one root', async () => {
  const witness = open()
  expect((await witness.addCheckpoint(requestFor(3, { proof: [Buffer.alloc(32)] }))).status).toBe(
    422,
  )
  expect((await witness.addCheckpoint(requestFor(0, { root: Buffer.alloc(32) }))).status).toBe(422)
  expect((await witness.addCheckpoint(requestFor(0))).status).toBe(200)
  expect((await witness.addCheckpoint(requestFor(3, { old: 1 }))).body).toBe('0\n')
  expect((await witness.addCheckpoint(requestFor(3))).status).toBe(200)
})

test.each([
  '',
  'old 0',
  'old 0\n\n',
  'old 00\n\nx',
  'old -1\n\nx',
  requestFor(3).replace('old', 'new'),
  requestFor(3).replace('\n\n', '\n'),
  requestFor(3).replace(
    'old 0\n',
    `old 0\n${`${Buffer.alloc(32).toString('base64')}\n`.repeat(64)}`,
  ),
  requestFor(3).replace('old 0\n', 'old 0\nAAAA\n'),
  requestFor(3).replace('\n3\n', '\n03\n'),
])('answers 400 to what is no request: %j', async (request) => {
  expect((await open().addCheckpoint(request)).status).toBe(400)
  expect(await readdir(dir)).toEqual([])
})

test('of two requests at once, one is answered before the other', async () => {
  const witness = open()
  await witness.addCheckpoint(requestFor(3))
  const answers = await Promise.all([
    witness.addCheckpoint(requestFor(9, { old: 3 })),
    witness.addCheckpoint(requestFor(5, { old: 3 })),
  ])
  expect(answers.map(({ status }) => status)).toEqual([200, 409])
  expect(answers[1]?.body).toBe('9\n')
})

test('a log may have several keys, and a signature that names one of them must be good', async () => {
  const next = noteKey(ORIGIN, 'ed25519', otherKeys.publicKey)
  const request = requestFor(3)
  const text = `${noteIn(request).split('\n\n')[0]}\n`
  const good = signNote(next, text, by(otherKeys.privateKey), NOW)
  const bad = signNote(next, text, by(logKeys.privateKey), NOW)
  const withBoth = (second: typeof good) =>
    `old 0\n\n${noteOf({ text, signatures: [signNote(log, text, by(logKeys.privateKey), NOW), second] })}`
  const witness = open([log, next])
  expect((await witness.addCheckpoint(withBoth(bad))).status).toBe(403)
  expect((await witness.addCheckpoint(withBoth(good))).status).toBe(200)
  expect((await open([next]).addCheckpoint(requestFor(5, { old: 3 }))).status).toBe(403)
  expect((await open([log, next]).addCheckpoint(requestFor(5, { old: 3 }))).status).toBe(200)
})

test('what it has seen is never forgotten because its file is damaged', async () => {
  await open().addCheckpoint(requestFor(3))
  const [file = ''] = await readdir(dir)
  await writeFile(join(dir, file), 'something else')
  await expect(open().addCheckpoint(requestFor(3))).rejects.toThrow('start a new witness')
})
