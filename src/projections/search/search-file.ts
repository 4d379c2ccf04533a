import type { DatabaseSync, StatementSync } from 'node:sqlite'
import * as z from 'zod'
import type { Kind } from '../../domain/records.ts'
import type { SearchQuery } from '../../domain/search-query.ts'
import { type FileKind, openDisposable, transact } from '../../lib/disposable-file.ts'
import { SCHEMA } from '../../log/codec.ts'
import { LogPlace } from '../../log/stream-pages.ts'

const Progress = z.object({
  log_id: z.string().nullable(),
  /** How many records were read. */
  records: z.int(),
  /** The last revision of the ledger of redactions that was known when the index was begun; -1 before the first. */
  redaction: z.int(),
})
/** Where the index is in the log. */
export type SearchProgress = Readonly<z.infer<typeof Progress>> & {
  /** The last record that was read; null before the first. */
  readonly last: LogPlace | null
}

/** A record for the index: its words, separated by spaces. `ts` is in seconds since the epoch. */
export type SearchRow = {
  readonly runId: string
  readonly seq: number
  readonly kind: Kind
  readonly ts: number
  readonly words: string
}

/** A record that was found. `at` orders all of them: the newest run first, within a run by seq. */
export type SearchHit = { readonly runId: string; readonly seq: number; readonly at: bigint }

export type SearchRequest = {
  readonly query: SearchQuery
  /** Only this run; null for all. */
  readonly runId: string | null
  /** Only these kinds; null for all. */
  readonly kinds: readonly Kind[] | null
  readonly limit: number
  /** Only what comes after this; null for the first page. */
  readonly after: bigint | null
}

/**
 * Rows are numbered in the order of the results, so that the first page of a common word reads only its first entries:
 * by the negative time of the run's creation in milliseconds, and in the lower bits by seq.
 */
const SEQ_BITS = 21n
const MAX_SEQ = 2n ** SEQ_BITS - 1n
/** In the year 2109. */
const MAX_MS = 2 ** 42

/** No row has this number. */
const FIRST = -(2n ** 63n)

const rowAt = (rank: number, seq: bigint): bigint => (BigInt(rank) << SEQ_BITS) | seq

/** Nothing is ever changed or removed in it: `words` keeps no texts, and pieces of words that were removed would stay. */
const KIND: FileKind = {
  // "rtSE"
  applicationId: 0x72745345,
  version: 20_000 + SCHEMA,
  pragmas: 'PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000',
  tables: `
    CREATE TABLE runs (rank INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE) STRICT;
    CREATE VIRTUAL TABLE words USING fts5
      (text, content = '', columnsize = 0, tokenize = 'ascii', prefix = '1 2 3');
    CREATE TABLE progress (
      log_id TEXT,
      position TEXT,
      stream TEXT,
      revision INTEGER,
      event_id TEXT,
      records INTEGER NOT NULL,
      redaction INTEGER NOT NULL
    ) STRICT;
    INSERT INTO progress (records, redaction) VALUES (0, -1);`,
}

const Rank = z.object({ rank: z.int() })
const RunId = z.object({ run_id: z.string() })
const Row = z.object({ at: z.bigint() })

/** An open file of the index. Methods throw what SQLite throws. */
export class SearchFile {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  /** Where the last run was added, and where its millisecond begins. */
  #lastRun = { first: 0, rank: 0 }

  /** Makes a missing file. @throws why the file cannot be used */
  constructor(file: string) {
    this.#db = openDisposable(file, KIND)
  }

  /** Notes up to which redaction the texts that come are without what was redacted. */
  begin(redaction: number): void {
    this.#prepared('UPDATE progress SET redaction = ?').run(redaction)
  }

  get progress(): SearchProgress {
    const row = this.#prepared('SELECT *, event_id AS id FROM progress').get()
    return { ...Progress.parse(row), last: LogPlace.safeParse(row).data ?? null }
  }

  /** Adds records. The first one of a run decides where the run is among the others. */
  add(rows: readonly SearchRow[], progress: Omit<SearchProgress, 'redaction'>): void {
    transact(this.#db, () => {
      const placed = rows.flatMap(({ runId, seq, kind, ts, words }) => {
        const rank = this.#rankOf(runId) ?? this.#addRun(runId, ts)
        if (words === '' || seq > MAX_SEQ) return []
        return [{ at: rowAt(rank, BigInt(seq)), text: `${kindWord(kind)} ${words}` }]
      })
      const add = this.#prepared('INSERT INTO words (rowid, text) VALUES (?, ?)')
      // In ascending order, FTS5 writes them all at once.
      for (const { at, text } of placed.sort((a, b) => (a.at < b.at ? -1 : 1))) add.run(at, text)
      const { log_id, last, records } = progress
      const { position = null, stream = null, revision = null, id = null } = last ?? {}
      this.#prepared(
        'UPDATE progress SET log_id = ?, position = ?, stream = ?, revision = ?, event_id = ?, records = ?',
      ).run(log_id, position, stream, revision, id, records)
    })
  }

  /** Whether it has one of these runs. */
  hasAny(runIds: readonly string[]): boolean {
    return runIds.some((runId) => this.#rankOf(runId) !== null)
  }

  find({ query, runId, kinds, limit, after }: SearchRequest): SearchHit[] {
    const rank = runId === null ? null : this.#rankOf(runId)
    if (runId !== null && rank === null) return []
    const first = rank === null ? FIRST + 1n : rowAt(rank, 0n)
    const last = rank === null ? 2n ** 63n - 1n : rowAt(rank, MAX_SEQ)
    const from = after !== null && after >= first ? after + 1n : first
    const rows = this.#prepared(
      'SELECT rowid AS at FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid LIMIT ?',
      { bigInts: true },
    ).all(matchOf(query, kinds), from, last, limit)
    return rows.flatMap((row) => {
      const { at } = Row.parse(row)
      const found = this.#prepared('SELECT run_id FROM runs WHERE rank = ?').get(at >> SEQ_BITS)
      return [{ runId: RunId.parse(found).run_id, seq: Number(at & MAX_SEQ), at }]
    })
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #rankOf(runId: string): number | null {
    const found = this.#prepared('SELECT rank FROM runs WHERE run_id = ?').get(runId)
    return found === undefined ? null : Rank.parse(found).rank
  }

  /** Runs of the same millisecond have numbers beside each other. */
  #addRun(runId: string, ts: number): number {
    const add = this.#prepared('INSERT OR IGNORE INTO runs (rank, run_id) VALUES (?, ?)')
    const first = -Math.min(Math.round(ts * 1000), MAX_MS)
    let rank = this.#lastRun.first === first ? this.#lastRun.rank + 1 : first
    while (add.run(rank, runId).changes === 0) rank += 1
    this.#lastRun = { first, rank }
    return rank
  }

  #prepared(sql: string, { bigInts = false } = {}): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#db.prepare(sql)
    statement.setReadBigInts(bigInts)
    this.#statements.set(sql, statement)
    return statement
  }
}

/** The kind of a row, as a word that no text has: it begins with a character that is in no word. */
const kindWord = (kind: Kind): string => `\u{e000}${kind.replaceAll('_', '')}`

/** A query in the language of FTS5. Words are letters and digits, so there is nothing to escape. */
function matchOf({ phrases, isOpen }: SearchQuery, kinds: readonly Kind[] | null): string {
  const ofKinds = kinds?.map((kind) => `"${kindWord(kind)}"`).join(' OR ')
  const texts = phrases.map((phrase) => `"${phrase.join(' ')}"`).join(' AND ')
  return `${ofKinds === undefined ? '' : `(${ofKinds}) AND `}${texts}${isOpen ? ' *' : ''}`
}
