import type { DatabaseSync } from 'node:sqlite'
import * as z from 'zod'
import type { DeliveryView } from '../api/webhooks.ts'
import {
  type FileKind,
  openDisposable,
  removeDisposable,
  transact,
} from '../lib/disposable-file.ts'
import type { Logger } from '../lib/logger.ts'

/** How many of the last tries of a webhook are kept. */
const KEPT = 100

/** A power loss may cost the last commits: then the same is delivered again. */
const KIND: FileKind = {
  applicationId: 0,
  version: 1,
  pragmas: 'PRAGMA locking_mode = EXCLUSIVE',
  tables: `
  CREATE TABLE progress (
    webhook TEXT NOT NULL PRIMARY KEY,
    cursor TEXT,
    delivered INTEGER NOT NULL DEFAULT 0,
    last_error TEXT
  ) STRICT;
  CREATE TABLE pending (
    n INTEGER PRIMARY KEY,
    webhook TEXT NOT NULL,
    run_id TEXT NOT NULL,
    record TEXT NOT NULL
  ) STRICT;
  CREATE INDEX pending_of_run ON pending (webhook, run_id, n);
  CREATE TABLE held (
    webhook TEXT NOT NULL,
    run_id TEXT NOT NULL,
    tries INTEGER NOT NULL,
    since REAL NOT NULL,
    next_try REAL NOT NULL,
    PRIMARY KEY (webhook, run_id)
  ) STRICT;
  CREATE TABLE tried (n INTEGER PRIMARY KEY, webhook TEXT NOT NULL, delivery TEXT NOT NULL) STRICT;
  CREATE INDEX tried_of ON tried (webhook, n);`,
}

/** A record that is to be delivered. */
export type Due = {
  readonly run_id: string
  readonly seq: number
  readonly hash: string
  readonly kind: string
  /** Seconds since the epoch. */
  readonly ts: number
}

/** A run whose first pending record was not received. Times are in seconds since the epoch. */
export type Held = { readonly tries: number; readonly since: number; readonly next_try: number }

const Progress = z.object({
  cursor: z.string().nullable(),
  delivered: z.int(),
  last_error: z.string().nullable(),
})
const RunRow = z
  .object({
    run_id: z.string(),
    pending: z.int(),
    tries: z.int().nullable(),
    since: z.number().nullable(),
    next_try: z.number().nullable(),
  })
  .transform(({ run_id, pending, tries, since, next_try }) => {
    const isHeld = tries !== null && since !== null && next_try !== null
    return { run_id, pending, held: isHeld ? { tries, since, next_try } : null }
  })

/**
 * How far the webhooks of a server are. The file can be lost: the records since the creation of each webhook
 * are then delivered again. All methods throw what SQLite throws.
 */
export class DeliveryBook {
  readonly #db: DatabaseSync

  private constructor(db: DatabaseSync) {
    this.#db = db
  }

  /** A file that cannot be used is replaced by an empty one. */
  static open(file: string, log: Pick<Logger, 'warn'>): DeliveryBook {
    try {
      return new DeliveryBook(openDisposable(file, KIND))
    } catch (err) {
      log.warn({ err, file }, 'the state of webhooks is lost: what they delivered is sent again')
      removeDisposable(file)
      return new DeliveryBook(openDisposable(file, KIND))
    }
  }

  /** Null for a webhook of which nothing is known. */
  progress(webhook: string): z.infer<typeof Progress> | null {
    const found = this.#get('SELECT * FROM progress WHERE webhook = ?', webhook)
    return found === undefined ? null : Progress.parse(found)
  }

  /** The runs with pending records, the one that has waited longest first. `held`: why the first of them waits. */
  runs(webhook: string): readonly z.infer<typeof RunRow>[] {
    const sql = `SELECT run_id, count(*) AS pending, tries, since, next_try
      FROM pending LEFT JOIN held USING (webhook, run_id) WHERE webhook = ?
      GROUP BY run_id ORDER BY min(n)`
    return z.array(RunRow).parse(this.#db.prepare(sql).all(webhook))
  }

  /** The first pending record of a run that has some. */
  first(webhook: string, runId: string): { readonly n: number; readonly due: Due } {
    const sql = 'SELECT n, record FROM pending WHERE webhook = ? AND run_id = ? ORDER BY n LIMIT 1'
    const found = this.#get(sql, webhook, runId)
    if (found === undefined) throw new Error(`nothing of the run ${runId} is pending`)
    return { n: Number(found.n), due: JSON.parse(String(found.record)) }
  }

  /** Notes that the log was read up to a cursor, and which records are due. */
  add(webhook: string, cursor: string, due: readonly Due[]): void {
    transact(this.#db, () => {
      for (const each of due) {
        const sql = 'INSERT INTO pending (webhook, run_id, record) VALUES (?, ?, ?)'
        this.#run(sql, webhook, each.run_id, JSON.stringify(each))
      }
      const sql = `INSERT INTO progress (webhook, cursor) VALUES (?, ?)
        ON CONFLICT DO UPDATE SET cursor = excluded.cursor`
      this.#run(sql, webhook, cursor)
    })
  }

  received(webhook: string, n: number, delivery: DeliveryView): void {
    transact(this.#db, () => {
      this.#run('DELETE FROM pending WHERE n = ?', n)
      this.#run('DELETE FROM held WHERE webhook = ? AND run_id = ?', webhook, delivery.run_id)
      this.#run('UPDATE progress SET delivered = delivered + 1 WHERE webhook = ?', webhook)
      this.#tried(webhook, delivery)
    })
  }

  refused(webhook: string, { tries, since, next_try }: Held, delivery: DeliveryView): void {
    transact(this.#db, () => {
      const sql = 'INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?)'
      this.#run(sql, webhook, delivery.run_id, tries, since, next_try)
      this.#run('UPDATE progress SET last_error = ? WHERE webhook = ?', delivery.error, webhook)
      this.#tried(webhook, delivery)
    })
  }

  #tried(webhook: string, delivery: DeliveryView): void {
    const text = JSON.stringify(delivery)
    this.#run('INSERT INTO tried (webhook, delivery) VALUES (?, ?)', webhook, text)
    const sql = `DELETE FROM tried WHERE webhook = ?1 AND n <=
      (SELECT n FROM tried WHERE webhook = ?1 ORDER BY n DESC LIMIT 1 OFFSET ${KEPT})`
    this.#run(sql, webhook)
  }

  /** The last tries, newest first. */
  tries(webhook: string): readonly DeliveryView[] {
    const sql = 'SELECT delivery FROM tried WHERE webhook = ? ORDER BY n DESC'
    return this.#db
      .prepare(sql)
      .all(webhook)
      .map(({ delivery }) => JSON.parse(String(delivery)))
  }

  /** All that are held are due now. @param isFresh as if they had not been tried */
  release(webhook: string, isFresh: boolean): void {
    const sql = isFresh ? 'DELETE FROM held' : 'UPDATE held SET next_try = 0'
    this.#run(`${sql} WHERE webhook = ?`, webhook)
  }

  forget(webhook: string): void {
    transact(this.#db, () => {
      for (const table of ['progress', 'pending', 'held', 'tried']) {
        this.#run(`DELETE FROM ${table} WHERE webhook = ?`, webhook)
      }
    })
  }

  close(): void {
    this.#db.close()
  }

  #get = (sql: string, ...values: readonly string[]) => this.#db.prepare(sql).get(...values)

  #run(sql: string, ...values: readonly (string | number | null)[]): void {
    this.#db.prepare(sql).run(...values)
  }
}
