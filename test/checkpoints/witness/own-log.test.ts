import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { listCheckpoints } from '../../../src/checkpoints/checkpoint-stream.ts'
import { proveInLog, readTile } from '../../../src/checkpoints/witness/log-proofs.ts'
import { canonicalText } from '../../../src/log/commitment.ts'
import { openNote, readKey, signaturesBy } from '../../support/spec-witness.ts'
import { Checkpointing, idOf, SERVER } from './support.ts'

const hash = (...parts: (string | Buffer)[]): Buffer => {
  const made = createHash('sha256')
  for (const part of parts) made.update(part)
  return made.digest()
}
/** RFC 6962, 2.1, in the plainest way. */
function rootOf(leaves: readonly Buffer[]): Buffer {
  const [first] = leaves
  if (first === undefined) return hash()
  if (leaves.length === 1) return first
  let middle = 1
  while (middle * 2 < leaves.length) middle *= 2
  return hash(Buffer.of(1), rootOf(leaves.slice(0, middle)), rootOf(leaves.slice(middle)))
}
const leafOf = (content: string) => hash(Buffer.of(0), content)

const checkpointsOf = async ({ store }: Checkpointing) =>
  (await listCheckpoints(store, -1, 1_000))._unsafeUnwrap()
const tileOf = async ({ ownLog, store }: Checkpointing, path: string) =>
  (await readTile(ownLog, store, path))._unsafeUnwrap()

/** The entries of a bundle. */
function entriesIn(bundle: Buffer | null): string[] {
  const entries: string[] = []
  for (let at = 0; bundle !== null && at < bundle.length; ) {
    const length = bundle.readUInt16BE(at)
    entries.push(bundle.subarray(at + 2, at + 2 + length).toString())
    at += 2 + length
  }
  return entries
}

test('leaf i of the tree is the checkpoint with number i, and the note is signed by the key of the server', async () => {
  const server = await Checkpointing.open()
  const empty = openNote(await server.note())
  expect([empty.size, empty.root]).toEqual([0, hash()])
  await server.write(7)
  const checkpoints = await checkpointsOf(server)
  const note = await server.note()
  const { origin, size, root } = openNote(note)
  expect(origin).toBe(`retrai/${checkpoints[0]?.log_id}/${SERVER}`)
  expect([size, root]).toEqual([7, rootOf(checkpoints.map((each) => leafOf(canonicalText(each))))])
  expect(readKey(await server.key())).toMatchObject({ name: origin, type: 1 })
  expect(signaturesBy(note, await server.key())).toEqual({ count: 1, good: true })
  server.restart()
  expect(await server.note()).toBe(note)
})

test('tiles and bundles of entries are those of the tree, also beyond the first', async () => {
  const server = await Checkpointing.open()
  await server.write(300)
  const entries = (await checkpointsOf(server)).map((each) => canonicalText(each))
  const leaves = entries.map(leafOf)
  expect(await tileOf(server, '0/000')).toEqual(Buffer.concat(leaves.slice(0, 256)))
  expect(await tileOf(server, '0/000.p/3')).toEqual(Buffer.concat(leaves.slice(0, 3)))
  expect(await tileOf(server, '0/001.p/44')).toEqual(Buffer.concat(leaves.slice(256)))
  expect(await tileOf(server, '1/000.p/1')).toEqual(rootOf(leaves.slice(0, 256)))
  expect(entriesIn(await tileOf(server, 'entries/000'))).toEqual(entries.slice(0, 256))
  expect(entriesIn(await tileOf(server, 'entries/001.p/44'))).toEqual(entries.slice(256))
  for (const path of [
    '0/001',
    '0/001.p/45',
    '0/002.p/1',
    '1/000',
    '1/001.p/1',
    '2/000.p/1',
    'entries/001',
    '0/000.p/0',
    '0/000.p/256',
    '0/000.p/01',
    '0/0',
    '00/000',
    '64/000',
    '-1/000',
    '',
    '0/x000/000',
    '0/000/',
    '0/../000',
    'entries/1',
    'x/000',
  ]) {
    expect(await tileOf(server, path), path).toBeNull()
  }
})

test('a tile has one path, with three digits in each part', async () => {
  const server = await Checkpointing.open()
  await server.write(1)
  const asked: number[][] = []
  const { tree } = server.ownLog.followed
  tree.hashes = (...given) => {
    asked.push(given)
    return null
  }
  await tileOf(server, '3/x001/x234/067.p/9')
  expect(asked).toEqual([[24, 1_234_067 * 256, 9]])
})

test('after a rotation, the tree has the checkpoints of both keys', async () => {
  const server = await Checkpointing.open()
  await server.write(2)
  const before = await server.key()
  ;(await server.keyring.rotate())._unsafeUnwrap()
  await server.write(1)
  const note = await server.note()
  expect(openNote(note).size).toBe(3)
  expect(signaturesBy(note, before)).toEqual({ count: 0, good: false })
  expect(signaturesBy(note, await server.key())).toEqual({ count: 1, good: true })
})

test('of servers that share a log, each has a tree of its own checkpoints', async () => {
  const one = await Checkpointing.open()
  const two = await Checkpointing.open(one.store)
  await one.write(2)
  for (const each of one.runs.values()) two.runs.set(each.run_id, each)
  await two.write(1)
  for (const each of two.runs.values()) one.runs.set(each.run_id, each)
  await one.write(1)
  const numbers = async (server: Checkpointing) =>
    entriesIn(await tileOf(server, `entries/000.p/${(await server.head()).size}`)).map(
      (entry) => JSON.parse(entry).number,
    )
  expect([await numbers(one), await numbers(two)]).toEqual([[0, 1, 3], [2]])
  // What comes after its last checkpoint is not in what a server proves.
  expect(await proveInLog(two.ownLog, idOf(3)).unwrapOr(null)).toMatchObject({
    leaf: { run_id: idOf(3) },
    checkpoint: { number: 2, runs: 3 },
  })
  expect(await proveInLog(two.ownLog, idOf(4)).unwrapOr(null)).toBeNull()
})

test('a run is proved by the newest checkpoint, or by the newest that a witness has seen if that says the same', async () => {
  const server = await Checkpointing.open()
  const proofOf = async (n: number) => (await proveInLog(server.ownLog, idOf(n)))._unsafeUnwrap()
  await server.write(3)
  expect(await proofOf(4)).toBeNull()
  const head = await server.head()
  const cosigned = { name: 'w', id: 'abcdef01', bytes: Buffer.alloc(72) }
  server.ownLog.addCosignatures(head, [cosigned])
  server.grow(2, 5)
  await server.write(1)
  const grown = await proofOf(2)
  expect(grown).toMatchObject({ index: 3, leaf: { length: 5 }, checkpoint: { number: 3 } })
  const same = await proofOf(3)
  expect(same).toMatchObject({ index: 2, leaf: { length: 1 }, checkpoint: { number: 2, runs: 3 } })
  expect(openNote(same?.note ?? '').signatures.map(({ name }) => name)).toContain('w')
  for (const proof of [grown, same]) {
    if (proof === null) throw new Error('no proof')
    const { size, root } = openNote(proof.note)
    expect(size).toBe(proof.index + 1)
    const leaves = (await checkpointsOf(server)).slice(0, size)
    expect(root).toEqual(rootOf(leaves.map((each) => leafOf(canonicalText(each)))))
  }
  // A cosignature over another tree of this size does not count.
  const other = { ...head, root: hash('other') }
  server.ownLog.addCosignatures(other, [{ ...cosigned, name: 'x' }])
  expect(openNote(await server.note(3)).signatures.map(({ name }) => name)).not.toContain('x')
})
