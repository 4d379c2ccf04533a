import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

/** The contents of the file are not what this server has written there. */
export class Altered extends Error {
  override readonly name = 'Altered'
}

const KEY_BYTES = 32
const MODULUS = 1n << 256n

/** The key of the seal, in a file beside the read model. One that is missing or not a key is made again. */
export function sealKey(file: string): Buffer {
  try {
    const key = readFileSync(file)
    if (key.length === KEY_BYTES) return key
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw cause
  }
  const key = randomBytes(KEY_BYTES)
  writeFileSync(file, key, { mode: 0o600 })
  return key
}

type SealedRow = {
  readonly run_id: string
  readonly created_at: string
  readonly goal: string
  readonly status: string
  readonly seq: number
  readonly head: string
  readonly state: string
}

/**
 * Makes the seals of rows, and the one over all of them: a sum of the seals of the rows, so that a commit
 * costs the rows in it. A program that cannot read the key can make none.
 */
export class Sealer {
  readonly #key: KeyObject

  constructor(key: Buffer) {
    // A key object is made once: from bytes, each seal would cost five times as much.
    this.#key = createSecretKey(key)
  }

  /** @returns 64 hex digits */
  row({ run_id, created_at, goal, status, seq, head, state }: SealedRow): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify(['run', run_id, created_at, goal, status, seq, head]))
      .update(state)
      .digest('hex')
  }

  /** Of anything else, as it is in JSON. */
  of(...parts: readonly unknown[]): string {
    return createHmac('sha256', this.#key).update(JSON.stringify(parts)).digest('hex')
  }
}

/** The sum of the seals of rows after some were removed and others added; hex. */
export function summed(sum: string, removed: readonly string[], added: readonly string[]): string {
  let total = BigInt(`0x${sum}`)
  for (const seal of removed) total -= BigInt(`0x${seal}`)
  for (const seal of added) total += BigInt(`0x${seal}`)
  const rest = ((total % MODULUS) + MODULUS) % MODULUS
  return rest.toString(16).padStart(64, '0')
}

export const NOTHING_SUMMED = '0'.repeat(64)
