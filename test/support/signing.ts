import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { okAsync } from 'neverthrow'
import { fingerprintOf, type KnownKeys } from '../../src/checkpoints/public-keys.ts'
import type { Signer, Signing } from '../../src/log/chain.ts'

/** A key that signs entries of ledgers, as the key of a server does. */
export function newSigning(): { sign: Signing; signer: Signer; keys: KnownKeys } {
  const { privateKey } = generateKeyPairSync('ed25519')
  const publicKey: KeyObject = createPublicKey(privateKey)
  const key = fingerprintOf(publicKey)
  const signer: Signer = {
    key,
    sign: (text) => sign(null, Buffer.from(text), privateKey).toString('hex'),
  }
  return { sign: () => okAsync(signer), signer, keys: new Map([[key, publicKey]]) }
}
