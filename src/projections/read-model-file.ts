import type { DatabaseSync } from 'node:sqlite'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import { SCHEMA } from '../log/codec.ts'
import type { Checkpoint } from './batch.ts'
import {
  type FileKind,
  isInUse,
  isOfKind,
  isOfOthers,
  openDisposable,
  removeDisposable,
} from './disposable-file.ts'
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
`

const KIND: FileKind = {
  applicationId: APPLICATION_ID,
  version: VERSION,
  tables: TABLES,
  pragmas: '',
}

/** Whether the database is a read model of this version. */
export const isCurrent = (db: DatabaseSync): boolean => isOfKind(db, KIND)

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
  const db = openDisposable(file, KIND)
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
  removeDisposable(file)
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
