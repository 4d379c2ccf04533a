import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
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

const Seal = z.object({ seal: z.string() })
const SealedProgress = z.looseObject({ rows: z.string(), seal: z.string().nullable() })
/** The progress in a new file, before anything was sealed. */
const Untouched = z.object({
  log_id: z.null(),
  position: z.null(),
  redaction: z.literal(-1),
  damaged: z.literal('[]'),
  seal: z.null(),
})

/** The seals in an open file: that of each row, and the one over the sum of these and the progress. */
export class FileSeals {
  readonly #db: DatabaseSync
  readonly #sealer: Sealer
  readonly #stored: StatementSync
  readonly #progress: StatementSync
  readonly #put: StatementSync

  constructor(db: DatabaseSync, sealer: Sealer) {
    this.#db = db
    this.#sealer = sealer
    this.#stored = db.prepare('SELECT seal FROM runs WHERE run_id = ?')
    this.#progress = db.prepare(`
      SELECT log_id, position, stream, revision, event_id, redaction, rows,
        (SELECT json_group_array(json_array(run_id, seq, message) ORDER BY run_id) FROM damaged) AS damaged,
        seal FROM progress`)
    this.#put = db.prepare('UPDATE progress SET rows = ?, seal = ?')
  }

  /** The seal that a row gets. */
  of(row: RunTableRow): string {
    return this.#sealer.row(row)
  }

  /** The seal that the row of a run has; null if there is no such row. */
  stored(runId: string): string | null {
    const found = this.#stored.get(runId)
    return found === undefined ? null : Seal.parse(found).seal
  }

  /** A row of the table of runs. @throws Altered if it is not as this server wrote it */
  checked(found: unknown): z.infer<typeof SealedRow> {
    const row = SealedRow.parse(found)
    if (this.#sealer.row(row) === row.seal) return row
    throw new Altered(
      `its row of the run ${row.run_id} was changed by something other than this server`,
    )
  }

  /** @throws Altered if the file does not hold what this server wrote last */
  verify(): void {
    const seals: string[] = []
    for (const found of this.#db.prepare('SELECT * FROM runs').iterate()) {
      seals.push(this.checked(found).seal)
    }
    const progress = this.#progress.get()
    if (seals.length === 0 && Untouched.safeParse(progress).success) return
    const { rows, seal } = SealedProgress.parse(progress)
    if (rows !== summed(NOTHING_SUMMED, [], seals)) {
      throw new Altered(
        'rows were added to it or removed from it by something other than this server',
      )
    }
    if (seal !== this.#ofProgress(rows)) {
      throw new Altered('its checkpoint was changed by something other than this server')
    }
  }

  /** Seals the sum of the rows and the progress. @param before the seals of replaced rows @param after of the new ones */
  renew(before: readonly string[], after: readonly string[]): void {
    const rows = summed(SealedProgress.parse(this.#progress.get()).rows, before, after)
    this.#put.run(rows, this.#ofProgress(rows))
  }

  #ofProgress(rows: string): string {
    const { seal: _, ...rest } = SealedProgress.parse(this.#progress.get())
    return this.#sealer.of('progress', { ...rest, rows })
  }
}
