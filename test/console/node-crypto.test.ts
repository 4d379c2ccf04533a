import * as node from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as here from '../../web/src/verify/node-crypto.ts'

const content = fc.oneof(fc.string({ unit: 'binary' }), fc.uint8Array({ maxLength: 300 }))
const lone = fc.constantFrom('\ud800', 'a\udc00b', '\udc00\ud800')
const pemOf = (key: node.KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString()

describe('the replacement for node:crypto in browsers', () => {
  test('hashes as Node does', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(content, lone), { maxLength: 4 }), (parts) => {
        const [first = ''] = parts
        expect(here.hash('sha256', first, 'hex')).toBe(node.hash('sha256', first, 'hex'))
        const one = here.createHash('sha256')
        const other = node.createHash('sha256')
        for (const part of parts) {
          one.update(part)
          other.update(part)
        }
        expect(one.digest('hex')).toBe(other.digest('hex'))
      }),
    )
  })

  test('accepts exactly the signatures that Node accepts', () => {
    const { publicKey, privateKey } = node.generateKeyPairSync('ed25519')
    const key = here.createPublicKey(pemOf(publicKey))
    expect(key.export({ type: 'spki', format: 'der' })).toEqual(
      new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
    )
    const flip = fc.option(fc.nat({ max: 64 * 8 - 1 }))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), flip, (signed, bit) => {
        const signature = new Uint8Array(node.sign(null, signed, privateKey))
        if (bit !== null) signature[bit >> 3] = (signature[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const good = node.verify(null, signed, publicKey, signature)
        expect(good).toBe(bit === null)
        expect(here.verify(null, signed, key, signature)).toBe(good)
        expect(here.verify(null, Uint8Array.of(...signed, 0), key, signature)).toBe(false)
      }),
      { numRuns: 20 },
    )
  })

  test('gives random bytes', () => {
    const [one, other] = [here.randomBytes(16), here.randomBytes(16)]
    expect(one.toString('hex')).toMatch(/^[0-9a-f]{32}$/)
    expect(one.toString('hex')).not.toBe(other.toString('hex'))
  })
})
