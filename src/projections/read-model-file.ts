import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import * as z from 'zod'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import { SCHEMA } from '../log/codec.ts'
import type { Checkpoint } from './batch.ts'
import type { LaterTags } from './read-model.ts'
import { ReadModelTables } from './read-model-tables.ts'
import { RunLists } from './run-lists.ts'
import type { Totals } from './totals.ts'

/**
 * Raise the first number whenever the tables, `RunState` or the result of `evolve` for a record change: files of
 * other versions are rebuilt from the log. A new version of the records changes the number, too.
 */
const VERSION = 20 * 10_000 + SCHEMA

/** Marks the file as ours in the header of the database: "rtRM". */
const APPLICATION_ID = 0x7274524d

/** A power loss may cost the last commits, which the log then repeats. */
const PRAGMAS = 'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL'

/** How long somebody who reads the file may keep it, in milliseconds. */
const TIMEOUT_MS = 1000

/** The lists that people and programs read most are read in order from one of the indexes. */
const TABLES = `
  CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    goal TEXT NOT NULL,
    status TEXT NOT NULL,
    project TEXT NOT NULL,
    model_name TEXT NOT NULL,
    principal TEXT,
    cost REAL,
    iteration INTEGER NOT NULL,
    tags TEXT NOT NULL,
    text TEXT NOT NULL,
    parent_run_id TEXT,
    origin_run_id TEXT,
    seq INTEGER NOT NULL,
    head TEXT NOT NULL,
    listed TEXT NOT NULL,
    state TEXT NOT NULL
  ) STRICT;
  CREATE INDEX runs_newest ON runs (created_at, run_id);
  CREATE INDEX runs_by_status ON runs (status, created_at, run_id);
  CREATE INDEX runs_by_parent ON runs (parent_run_id, created_at, run_id)
    WHERE parent_run_id IS NOT NULL;
  CREATE INDEX runs_by_origin ON runs (origin_run_id, created_at, run_id)
    WHERE origin_run_id IS NOT NULL;
  CREATE TABLE damaged (
    run_id TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    message TEXT NOT NULL
  ) STRICT;
  CREATE TABLE progress (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    log_id TEXT,
    position TEXT,
    stream TEXT,
    revision INTEGER,
    event_id TEXT,
    redaction INTEGER NOT NULL DEFAULT -1,
    totals TEXT NOT NULL DEFAULT '{}'
  ) STRICT;
  INSERT INTO progress (one) VALUES (1);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${VERSION};
`

/** The file is a database that is not a read model, so it must not be deleted. */
class Foreign extends Error {
  override readonly name = 'Foreign'
}

/**
 * Opens the file if this version made it, and makes a missing one.
 * @throws Foreign, or why the file cannot be used
 */
function openReadModelFile(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: TIMEOUT_MS })
  try {
    const isEmpty = db.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
    if (!isEmpty && pragma(db, 'application_id') !== APPLICATION_ID) {
      throw new Foreign(
        'it is the database of another program: move it away, or choose another data folder',
      )
    }
    db.exec(PRAGMAS)
    db.exec('BEGIN IMMEDIATE')
    if (isEmpty) db.exec(TABLES)
    else if (!isCurrent(db)) throw new Error('another version made it')
    db.exec('COMMIT')
    return db
  } catch (cause) {
    db.close()
    throw cause
  }
}

/** Whether the database is a read model of this version. */
export function isCurrent(db: DatabaseSync): boolean {
  return pragma(db, 'application_id') === APPLICATION_ID && pragma(db, 'user_version') === VERSION
}

function pragma(db: DatabaseSync, name: 'application_id' | 'user_version'): number {
  return z.object({ [name]: z.int() }).parse(db.prepare(`PRAGMA ${name}`).get())[name] ?? 0
}

function removeReadModelFile(file: string): void {
  // Earlier versions had a key.
  for (const suffix of ['', '-wal', '-shm', '-journal', '.key'])
    rmSync(`${file}${suffix}`, { force: true })
}

const SQLITE_BUSY = 5
/** SQLite's answer to a write after its file was moved or deleted. */
const SQLITE_READONLY = 8
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26
const DAMAGE: ReadonlySet<number | null> = new Set([SQLITE_READONLY, SQLITE_CORRUPT, SQLITE_NOTADB])

const SqliteError = z.object({ code: z.literal('ERR_SQLITE_ERROR'), errcode: z.int() })

/** The primary result code of SQLite; null for any other error. */
function resultCode(cause: unknown): number | null {
  const parsed = SqliteError.safeParse(cause)
  return parsed.success ? parsed.data.errcode & 0xff : null
}

function isInUse(cause: unknown): boolean {
  return resultCode(cause) === SQLITE_BUSY
}

/** Whether the file must stay: another process has it open, or it is not a read model. */
function isOfOthers(cause: unknown): boolean {
  return isInUse(cause) || cause instanceof Foreign
}

/** Whether the file cannot be read, does not hold what was written, or is gone. */
export function isDamage(cause: unknown): boolean {
  if (cause instanceof SyntaxError || cause instanceof z.ZodError) return true
  return DAMAGE.has(resultCode(cause))
}

export type ReadModelOptions = {
  /** Path of the SQLite file. It belongs to the read model, and may be deleted while it is closed. */
  readonly file: string
  readonly log: Logger
}

export type ReadModelFailure =
  /** Another process has the file open. */
  | { readonly type: 'read_model_in_use'; readonly message: string }
  /** The file system or SQLite refuses: no access, a full disk. */
  | { readonly type: 'read_model_failed'; readonly message: string }

/** The error for what SQLite or the file system threw. */
export function failure(file: string, cause: unknown): ReadModelFailure {
  if (isInUse(cause)) {
    return {
      type: 'read_model_in_use',
      message: `another process has ${file} open: give each server a data folder of its own`,
    }
  }
  return { type: 'read_model_failed', message: `${file}: ${messageOf(cause)}` }
}

/** An open file, and its parts that are kept in memory. */
export type Contents = {
  readonly tables: ReadModelTables
  readonly lists: RunLists
  readonly damaged: Set<string>
  logId: string | null
  checkpoint: Checkpoint | null
  totals: Totals
}

/** The tags that a run was given later; null if it was not. */
type TagsOf = (runId: string) => LaterTags | null

function open({ file }: ReadModelOptions, tagsOf: TagsOf): Contents {
  const db = openReadModelFile(file)
  try {
    const tables = new ReadModelTables(db)
    const [damaged, logId] = [tables.damaged(), tables.logId()]
    const lists = new RunLists(db, tagsOf)
    const [checkpoint, totals] = [tables.checkpoint(), tables.totals()]
    return { tables, lists, damaged, logId, checkpoint, totals }
  } catch (cause) {
    db.close()
    throw cause
  }
}

/** Throws the file away and makes an empty one. @throws what SQLite and the file system throw */
export function openNew(options: ReadModelOptions, reason: string, tagsOf: TagsOf): Contents {
  const { file, log } = options
  removeReadModelFile(file)
  const contents = open(options, tagsOf)
  log.warn({ file, reason }, 'the read model was thrown away and is rebuilt from the log')
  return contents
}

/**
 * Opens the file. If it is damaged, or another version made it, it is replaced by an empty one.
 * @throws if another process has the file open, it is not a read model, or it cannot be created
 */
export function openOrRebuild(options: ReadModelOptions, tagsOf: TagsOf): Contents {
  try {
    return open(options, tagsOf)
  } catch (cause) {
    if (isOfOthers(cause)) throw cause
    return openNew(options, messageOf(cause), tagsOf)
  }
}
