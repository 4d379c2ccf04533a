import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  inclusionPath,
  leafHash,
  MerkleTree,
  merkleRoot,
  rootOfPath,
} from '../../../src/audit/checkpoints/merkle.ts'

const hex = (bytes: Uint8Array | null): string | null => bytes && Buffer.from(bytes).toString('hex')

test('roots are those of RFC 6962 for its test inputs', () => {
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657']
  const leaves = inputs.map((input) =>
    createHash('sha256').update(Uint8Array.of(0)).update(Buffer.from(input, 'hex')).digest(),
  )
  const roots = [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  ]
  roots.forEach((root, count) => {
    expect(hex(merkleRoot(leaves.slice(0, count)))).toBe(root)
  })
})

const texts = fc.array(fc.string(), { minLength: 1, maxLength: 40 })

test('the path of every leaf leads to the root, and the path of another leaf does not', () => {
  fc.assert(
    fc.property(texts, fc.nat(), fc.nat(), (given, first, second) => {
      const leaves = given.map((text, index) => leafHash(`${index} ${text}`))
      const [index, other] = [first % leaves.length, second % leaves.length]
      const root = hex(merkleRoot(leaves))
      const path = inclusionPath(leaves, index)
      const count = leaves.length
      const leaf = leaves[index] as Buffer
      expect(hex(rootOfPath(leaf, { index, count, path }))).toBe(root)
      if (other === index) return
      expect(hex(rootOfPath(leaf, { index: other, count, path }))).not.toBe(root)
      expect(hex(rootOfPath(leaves[other] as Buffer, { index, count, path }))).not.toBe(root)
      expect(hex(rootOfPath(leaf, { index, count, path: path.slice(1) }))).not.toBe(root)
    }),
  )
})

const changes = fc.array(fc.dictionary(fc.string(), fc.string(), { maxKeys: 12 }), {
  maxLength: 12,
})

test('a tree that grows has the same root as a tree that is built at once', () => {
  fc.assert(
    fc.property(changes, (given) => {
      const tree = new MerkleTree()
      const all = new Map<string, Buffer>()
      for (const change of given) {
        const leaves = new Map(Object.entries(change).map(([id, text]) => [id, leafHash(text)]))
        for (const [id, leaf] of leaves) all.set(id, leaf)
        for (const _ of tree.put(leaves));
        const sorted = [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, leaf]) => leaf)
        expect(tree.size).toBe(sorted.length)
        expect(hex(tree.root)).toBe(hex(merkleRoot(sorted)))
      }
    }),
  )
})
