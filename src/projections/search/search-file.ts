import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import * as z from 'zod'
import type { Kind } from '../../domain/records.ts'
import type { SearchQuery } from '../../domain/search-query.ts'
import { SCHEMA } from '../../log/codec.ts'
import { streamOf } from '../../log/run-log.ts'
import { type FileKind, openDisposable, transact } from '../disposable-file.ts'

const Progress = z.object({
  log_id: z.string().nullable(),
  /** Of the last record that was read; null before the first. */
  position: z.string().nullable(),
  stream: z.string().nullable(),
  revision: z.int().nullable(),
  /** Null also if the run of that record was removed. */
  event_id: z.string().nullable(),
  /** How many records were read. */
  records: z.int(),
  /** The last revision of the ledger of redactions whose texts are out of the index; -1 before the first. */
  redaction: z.int(),
})
/** Where the index is in the log. */
export type SearchProgress = Readonly<z.infer<typeof Progress>>

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

/**
 * `words` keeps no texts. What was added is kept in `texts`, compressed, because a row is removed with it. Both
 * kinds of secure deletion together leave nothing of such a row in the file.
 */
const KIND: FileKind = {
  // "rtSE"
  applicationId: 0x72745345,
  version: 10_000 + SCHEMA,
  pragmas: 'PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000',
  tables: `
    CREATE TABLE runs (rank INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE texts (at INTEGER PRIMARY KEY, text BLOB NOT NULL) STRICT;
    CREATE VIRTUAL TABLE words USING fts5
      (text, content = '', columnsize = 0, tokenize = 'ascii', prefix = '1 2 3');
    INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
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

const ADD_WORDS = 'INSERT INTO words (rowid, text) VALUES (?, ?)'
const REMOVE_WORDS = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)"

/** A shorter beginning of a word says nothing. In bytes. */
const SHORTEST = 4
const bytesOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/** How many rows of a run are removed at once. */
const REMOVED_AT_ONCE = 200

const Rank = z.object({ rank: z.int() })
const RunId = z.object({ run_id: z.string() })
const Row = z.object({ at: z.bigint() })
const Term = z.object({ term: z.instanceof(Uint8Array) })
const Text = z.object({ at: z.bigint(), text: z.instanceof(Uint8Array) })

/** An open file of the index. Methods throw what SQLite throws. */
export class SearchFile {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  /** Beginnings of words between pages, which may be left without the words. */
  readonly #beginnings = new Set<string>()
  /** Where the last run was added, and where its millisecond begins. */
  #lastRun = { first: 0, rank: 0 }

  /** Makes a missing file. @throws why the file cannot be used */
  constructor(file: string) {
    this.#db = openDisposable(file, KIND)
  }

  get progress(): SearchProgress {
    return Progress.parse(this.#prepared('SELECT * FROM progress').get())
  }

  /** Adds records. The first one of a run decides where the run is among the others. */
  add(rows: readonly SearchRow[], progress: Omit<SearchProgress, 'redaction'>): void {
    transact(this.#db, () => {
      const placed = rows.flatMap(({ runId, seq, kind, ts, words }) => {
        const rank = this.#rankOf(runId) ?? this.#addRun(runId, ts)
        if (words === '' || seq > MAX_SEQ) return []
        return [{ at: rowAt(rank, BigInt(seq)), text: `${kindWord(kind)} ${words}` }]
      })
      // In ascending order, FTS5 writes them all at once.
      for (const { at, text } of placed.sort((a, b) => (a.at < b.at ? -1 : 1))) this.#put(at, text)
      const { log_id, position, stream, revision, event_id, records } = progress
      this.#prepared(
        'UPDATE progress SET log_id = ?, position = ?, stream = ?, revision = ?, event_id = ?, records = ?',
      ).run(log_id, position, stream, revision, event_id, records)
    })
  }

  /** Replaces the words of records that the index has, and leaves nothing of the old ones in the file. */
  replace(rows: readonly SearchRow[], redaction: number): void {
    transact(this.#db, () => {
      for (const { runId, seq, kind, words } of rows) {
        const rank = this.#rankOf(runId)
        if (rank === null || seq > MAX_SEQ) continue
        const at = rowAt(rank, BigInt(seq))
        const isThere = this.#removeRows(at, at, 1).length > 0
        if (isThere && words !== '') this.#put(at, `${kindWord(kind)} ${words}`)
      }
      this.#prepared('UPDATE progress SET redaction = ?').run(redaction)
    })
    this.#clean()
  }

  /** Removes rows of a run; call it until it returns false: then the index knows nothing of the run. */
  removeRun(runId: string): boolean {
    const rank = this.#rankOf(runId)
    if (rank === null) return false
    transact(this.#db, () => {
      const removed = this.#removeRows(rowAt(rank, 0n), rowAt(rank, MAX_SEQ), REMOVED_AT_ONCE)
      if (removed.length === REMOVED_AT_ONCE) return
      this.#prepared('DELETE FROM runs WHERE rank = ?').run(rank)
      const forget = 'UPDATE progress SET event_id = NULL WHERE stream = ?'
      this.#prepared(forget).run(streamOf(runId))
    })
    if (this.#rankOf(runId) !== null) return true
    this.#clean()
    return false
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

  #put(at: bigint, text: string): void {
    const add = this.#prepared('INSERT OR IGNORE INTO texts (at, text) VALUES (?, ?)')
    if (add.run(at, deflateRawSync(text, { level: 3 })).changes === 0) return
    this.#prepared(ADD_WORDS).run(at, text)
  }

  /** Removes rows, and returns their texts. */
  #removeRows(from: bigint, to: bigint, limit: number): string[] {
    const sql = 'SELECT at, text FROM texts WHERE at BETWEEN ? AND ? ORDER BY at LIMIT ?'
    const rows = this.#prepared(sql, { bigInts: true }).all(from, to, limit)
    const texts = rows.map((row) => {
      const { at, text: packed } = Text.parse(row)
      const text = inflateRawSync(packed).toString()
      this.#prepared(REMOVE_WORDS).run(at, text)
      this.#prepared('DELETE FROM texts WHERE at = ?').run(at)
      return text
    })
    if (texts.length > 0) this.#note(texts.flatMap((text) => text.split(' ')))
    return texts
  }

  /**
   * Between its pages, FTS5 has the beginnings of words, and keeps them without the words. If one of those is left that
   * were noted, all pages are written again, which takes seconds for a million records. Then empties the write-ahead log.
   */
  #clean(): void {
    const isThere = this.#prepared('SELECT 1 FROM words WHERE words MATCH ? LIMIT 1')
    const isLeft = (beginning: string): boolean => {
      const text = Buffer.from(beginning, 'latin1')
        .toString()
        .replace(/\ufffd+$/, '')
      return isThere.get(`"${text}" *`) === undefined
    }
    if ([...this.#beginnings].some(isLeft)) {
      // FTS5 writes nothing again if it has written everything at once. This row is not.
      const row = [FIRST, kindWord('run_end')] as const
      this.#prepared(ADD_WORDS).run(...row)
      this.#db.exec("INSERT INTO words (words) VALUES ('optimize')")
      this.#prepared(REMOVE_WORDS).run(...row)
    }
    this.#beginnings.clear()
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  }

  /** Notes which beginnings of these words are between pages. */
  #note(words: readonly string[]): void {
    const sql = 'SELECT substr(term, 2) AS term FROM words_idx WHERE length(term) > ?'
    const rows = this.#prepared(sql).all(SHORTEST)
    const between = new Set(rows.map((row) => bytesOf(Term.parse(row).term)))
    for (const word of new Set(words)) {
      const bytes = bytesOf(Buffer.from(word))
      for (let length = SHORTEST; length <= bytes.length; length += 1) {
        const beginning = bytes.slice(0, length)
        if (between.has(beginning)) this.#beginnings.add(beginning)
      }
    }
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
