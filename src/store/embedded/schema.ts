import { DatabaseSync } from 'node:sqlite'

/** Marks the file as ours in the header of the database: "rtAI". */
const APPLICATION_ID = 0x72744149

/** Step n brings a file from format n to n + 1. Append to it; never change a step that was released. */
const STEPS: readonly string[] = [
  `
  CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
  ) STRICT;
  CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    revision INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (stream_id, revision)
  ) STRICT;
  `,
  `
  CREATE TABLE rewritten (
    id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    data TEXT NOT NULL,
    metadata TEXT NOT NULL
  ) STRICT;
  CREATE INDEX rewritten_by_position ON rewritten (position);
  `,
]

/**
 * Commits survive a loss of power (FULL). The write-ahead log is copied into the file about every 4 MB. SQLite
 * overwrites what it drops or moves within the file, so that nothing is left of what is redacted later.
 */
const DURABLE = `
  PRAGMA secure_delete = ON;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 1000;
  PRAGMA journal_size_limit = 67108864;
  PRAGMA cache_size = -16000;
`

/** A file of at most this many pages is checked when it is opened, which takes a moment at most. */
const CHECKED_PAGES = 65_536

/** Why a file is not opened, for a person. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/**
 * Makes an event store of an empty database, and upgrades one of an older format.
 * @throws Refused, or an error of SQLite: the file is foreign, newer or damaged, and is left as it is
 */
export function prepareSchema(db: DatabaseSync, file: string): void {
  refuseForeign(db, file)
  refuseDamaged(db, file)
  db.exec(DURABLE)
  upgrade(db)
  // Last, so that the mark of the file is in the file itself and not only in its log.
  if (pragma(db, 'journal_mode = WAL') !== 'wal') {
    throw new Refused(
      `the event store ${file} is in a place where SQLite cannot share memory between connections ` +
        '(a network folder?): choose a local folder',
    )
  }
}

export const READER_PRAGMAS = 'PRAGMA cache_size = -16000; PRAGMA query_only = ON;'

function pragma(db: DatabaseSync, statement: string): unknown {
  const row = db.prepare(`PRAGMA ${statement}`).get()
  return row === undefined ? undefined : Object.values(row)[0]
}

/** Refuses a file that is not a log yet. @throws Refused, or an error of SQLite */
export function refuseOthers(db: DatabaseSync, file: string): void {
  refuseForeign(db, file)
  if (pragma(db, 'application_id') !== APPLICATION_ID) {
    throw new Refused(
      `${file} is empty: there is no event store in it. Name the data folder of a server`,
    )
  }
}

function refuseForeign(db: DatabaseSync, file: string): void {
  const application = pragma(db, 'application_id')
  const format = pragma(db, 'user_version')
  const empty = db.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
  if (empty && application === 0 && format === 0) return
  if (application !== APPLICATION_ID || typeof format !== 'number') {
    throw new Refused(
      `${file} is the database of another program, not an event store: choose another file`,
    )
  }
  if (format > STEPS.length) {
    throw new Refused(
      `the event store ${file} was written by a newer version (format ${format}, this one knows ` +
        `formats up to ${STEPS.length}): update this program`,
    )
  }
}

function refuseDamaged(db: DatabaseSync, file: string): void {
  const pages = pragma(db, 'page_count')
  if (typeof pages === 'number' && pages > CHECKED_PAGES) return
  // With the indexes: one that leaves rows out hides records from every reader. It takes up to twice the time of quick_check.
  const found = pragma(db, 'integrity_check(1)')
  if (found === 'ok') return
  const reason = String(found)
    .replaceAll(/\*\*\*.*\*\*\*\n|\n/g, ' ')
    .trim()
  throw new Refused(
    `the event store ${file} is damaged (${reason}): restore it from a backup, ` +
      'or save what is left of it with the .recover command of sqlite3',
  )
}

/** The tables and indexes of a schema, such as `table events`, each with the statement that made it. */
type Schema = ReadonlyMap<string, string>

/** The schema that a log has, and the one that a server makes in its format. */
export function schemaOf(db: DatabaseSync): { readonly found: Schema; readonly made: Schema } {
  const format = Number(pragma(db, 'user_version'))
  const own = new DatabaseSync(':memory:')
  try {
    for (const step of STEPS.slice(0, format)) own.exec(step)
    return { found: readSchema(db), made: readSchema(own) }
  } finally {
    own.close()
  }
}

const readSchema = (db: DatabaseSync): Schema =>
  new Map(
    db
      .prepare('SELECT type, name, sql FROM sqlite_schema')
      .all()
      .map(({ type, name, sql }) => [`${type} ${name}`, String(sql).replaceAll(/\s+/g, ' ')]),
  )

function upgrade(db: DatabaseSync): void {
  const format = pragma(db, 'user_version')
  if (format === STEPS.length || typeof format !== 'number') return
  // Format 1 did not overwrite what was moved within the file.
  if (format === 1) db.exec('VACUUM')
  db.exec('BEGIN IMMEDIATE')
  for (const step of STEPS.slice(format)) db.exec(step)
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
  db.exec(`PRAGMA user_version = ${STEPS.length}`)
  db.exec('COMMIT')
}
