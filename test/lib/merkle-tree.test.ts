import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isConsistent, MerkleTree } from '../../src/lib/merkle-tree.ts'
import { hashOfLeaf, rootOfPath } from '../../src/lib/note-check.ts'

/** The tree with which implementations of RFC 6962 test each other. */
const LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
]
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]
const CONSISTENCY = [
  {
    from: 6,
    size: 8,
    path: [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  {
    from: 2,
    size: 5,
    path: [
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  },
]

function treeOf(leaves: readonly string[]): MerkleTree {
  const tree = new MerkleTree()
  for (const leaf of leaves) tree.append(hashOfLeaf(leaf))
  return tree
}
const known = treeOf(LEAVES.map((hex) => Buffer.from(hex, 'hex').toString('latin1')))
const numbered = treeOf(Array.from({ length: 300 }, (_, index) => String(index)))
const hexOf = (hashes: readonly Buffer[]) => hashes.map((hash) => hash.toString('hex'))
const headOf = (size: number) => ({ size, root: numbered.root(size) })

test('roots and consistency proofs are those of the known tree', () => {
  expect(hexOf(ROOTS.map((_, size) => known.root(size)))).toEqual(ROOTS)
  for (const { from, size, path } of CONSISTENCY) {
    expect(hexOf(known.consistency(from, size))).toEqual(path)
  }
})

const size = fc.integer({ min: 1, max: 300 })

test('each leaf is proved in each tree, at its own place only', () => {
  fc.assert(
    fc.property(size, fc.nat(), fc.nat(), (count, some, other) => {
      const [index, elsewhere] = [some % count, other % count]
      const path = numbered.inclusion(index, count)
      const at = (place: number, leaf: number, steps: readonly Buffer[]) =>
        rootOfPath(hashOfLeaf(String(leaf)), place, count, steps)?.toString('hex')
      const root = numbered.root(count).toString('hex')
      expect(at(index, index, path)).toBe(root)
      expect(at(index, index, [...path, Buffer.alloc(32)])).toBeUndefined()
      if (path.length > 0) expect(at(index, index, path.slice(1))).not.toBe(root)
      if (elsewhere !== index) expect(at(index, elsewhere, path)).not.toBe(root)
      expect(at(count, index, path)).toBeUndefined()
    }),
  )
})

test('each tree is consistent with each later one, and with no other', () => {
  fc.assert(
    fc.property(size, size, (one, two) => {
      const [from, to] = one < two ? [one, two] : [two, one]
      const path = from === to ? [] : numbered.consistency(from, to)
      expect(isConsistent(headOf(from), headOf(to), path)).toBe(true)
      const forged = { size: from, root: hashOfLeaf('forged') }
      expect(isConsistent(forged, headOf(to), path)).toBe(false)
      expect(isConsistent(headOf(from), { ...forged, size: to }, path)).toBe(false)
      expect(isConsistent(headOf(from), headOf(to), [...path, Buffer.alloc(32)])).toBe(false)
      if (from !== to) expect(isConsistent(headOf(to), headOf(from), path)).toBe(false)
      if (path.length > 0) {
        expect(isConsistent(headOf(from), headOf(to), path.slice(1))).toBe(false)
        expect(isConsistent(headOf(from), headOf(to), path.with(0, Buffer.alloc(32)))).toBe(false)
      }
    }),
  )
  expect(isConsistent({ size: 0, root: known.root(0) }, headOf(5), [])).toBe(true)
})

test('hashes of complete subtrees are there as soon as they are complete', () => {
  expect(numbered.hashes(0, 0, 300)?.length).toBe(300 * 32)
  expect(numbered.hashes(8, 0, 1)).toEqual(numbered.root(256))
  expect(numbered.hashes(8, 0, 2)).toBeNull()
  expect(numbered.hashes(16, 0, 1)).toBeNull()
})
