import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import * as z from 'zod'
import { codeOf } from '../lib/message-of.ts'

/** The file does not hold what this server wrote to it. */
export class Altered extends Error {
  override readonly name = 'Altered'
}

const KEY_BYTES = 32
const MODULUS = 1n << 256n

/** The key of the seals, in a file beside the read model. If it is missing or not a key, a new one is written. */
export function sealKey(file: string): Buffer {
  try {
    const key = readFileSync(file)
    if (key.length === KEY_BYTES) return key
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT') throw cause
  }
  const key = randomBytes(KEY_BYTES)
  writeFileSync(file, key, { mode: 0o600 })
  return key
}

/** A row of the table of runs. `state` is JSON. */
export const SealedRow = z.object({
  run_id: z.string(),
  created_at: z.string(),
  goal: z.string(),
  status: z.string(),
  parent_run_id: z.string().nullable(),
  seq: z.int(),
  head: z.string(),
  state: z.string(),
  seal: z.string(),
})
export type RunTableRow = Omit<z.infer<typeof SealedRow>, 'seal'>

/**
 * Makes the seal of each row, and a seal over the sum of all of them, so that a commit costs only the rows in it.
 * A program that cannot read the key can make none.
 */
export class Sealer {
  readonly #key: KeyObject

  constructor(key: Buffer) {
    // A key object is made once: from bytes, each seal would cost five times as much.
    this.#key = createSecretKey(key)
  }

  /** @returns 64 hex digits */
  row({ run_id, created_at, goal, status, parent_run_id, seq, head, state }: RunTableRow): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify(['run', run_id, created_at, goal, status, parent_run_id, seq, head]))
      .update(state)
      .digest('hex')
  }

  /** The seal of anything else, by its JSON. */
  of(...parts: readonly unknown[]): string {
    return createHmac('sha256', this.#key).update(JSON.stringify(parts)).digest('hex')
  }
}

/** The sum of the seals of rows after some rows were removed and others added; hex. */
export function summed(sum: string, removed: readonly string[], added: readonly string[]): string {
  let total = BigInt(`0x${sum}`)
  for (const seal of removed) total -= BigInt(`0x${seal}`)
  for (const seal of added) total += BigInt(`0x${seal}`)
  const rest = ((total % MODULUS) + MODULUS) % MODULUS
  return rest.toString(16).padStart(64, '0')
}

export const NOTHING_SUMMED = '0'.repeat(64)
