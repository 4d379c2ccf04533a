import { statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { err, ok, type Result } from 'neverthrow'
import { counted } from '../../lib/counted.ts'
import type { StoreFailure } from '../event-store.ts'
import { openExisting } from './existing-log.ts'
import { schemaOf } from './schema.ts'
import { storeFailed } from './sqlite-failure.ts'

/** How many streams of others are named. */
const MAX_NAMED = 20

/** The first append of a stream makes it, together with its events. */
const STREAMS = `
  SELECT name, NOT EXISTS (SELECT 1 FROM events e WHERE e.stream_id = s.id) AS isEmpty
  FROM streams s`

/**
 * Texts that no reader of the log sees. A server blanks what it overwrites: the event, or the row of `rewritten` that
 * was its newest.
 */
const UNSEEN = `
  SELECT count(*) AS unseen FROM rewritten r
  LEFT JOIN events e ON e.position = r.position
  WHERE trim(r.data || r.metadata) <> '' AND (
    e.data IS NULL OR e.data = '' OR trim(e.data || e.metadata) <> ''
    OR r.id < (SELECT max(id) FROM rewritten n WHERE n.position = r.position)
  )`

/** A server counts the positions of its events from 1, and leaves none out. */
const SKIPPED = 'SELECT coalesce(max(position), 0) - count(*) AS skipped FROM events'

/**
 * What is in the file of a log but was not put there by a server, or is not as a server made it: the records do not
 * show a foreign trigger, table, stream or text, or an index that leaves some of them out. Each part is a sentence without its full stop. A server may be writing to
 * the log.
 * @param isOurs whether a server makes a stream with this name
 */
export function foreignParts(
  file: string,
  isOurs: (stream: string) => boolean,
): Result<readonly string[], StoreFailure> {
  return openExisting(file).andThen((db) => {
    try {
      const damage = damageOf(db)
      if (damage.length > 0) return ok(damage)
      const parts = [...schemaParts(db), ...streamParts(db, isOurs), ...rewrittenParts(db)]
      return ok([...parts, ...placeParts(db, file)])
    } catch (error) {
      return err(storeFailed(file, error))
    } finally {
      db.close()
    }
  })
}

/** What SQLite finds wrong with its tables, or with indexes that do not hold what is in these. */
function damageOf(db: DatabaseSync): string[] {
  const found = db.prepare(`PRAGMA integrity_check(${MAX_NAMED})`).all()
  const lines = found.map(({ integrity_check: line }) => String(line).replaceAll('\n', ' '))
  return lines[0] === 'ok' ? [] : lines.map((line) => `SQLite finds that it is damaged: ${line}`)
}

function placeParts(db: DatabaseSync, file: string): string[] {
  // Before the pages are counted, which a server may add meanwhile.
  const { size } = statSync(file)
  const pages = db.prepare(
    'SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size',
  )
  const behind = size - Number(pages.get()?.bytes)
  const skipped = Number(db.prepare(SKIPPED).get()?.skipped)
  return [
    ...(skipped === 0
      ? []
      : [`its events skip ${counted(skipped, 'position')}, which no server does`]),
    ...(behind <= 0
      ? []
      : [`${counted(behind, 'byte')} that are not of the database come after its end`]),
  ]
}

function schemaParts(db: DatabaseSync): string[] {
  const { found, made } = schemaOf(db)
  const other = [...found].flatMap(([part, sql]) => {
    const own = made.get(part)
    if (own === undefined) return [`it has the ${part}, which no server makes`]
    return own === sql ? [] : [`its ${part} is not as a server makes it`]
  })
  const missing = [...made.keys()].filter((part) => !found.has(part))
  return [...other, ...missing.map((part) => `it does not have the ${part}, which a server makes`)]
}

function streamParts(db: DatabaseSync, isOurs: (stream: string) => boolean): string[] {
  const named: string[] = []
  let more = 0
  for (const { name, isEmpty } of db.prepare(STREAMS).iterate()) {
    const stream = String(name)
    if (isOurs(stream) && isEmpty === 0) continue
    const why = isOurs(stream) ? 'without its events' : 'which no server makes'
    if (named.length < MAX_NAMED) named.push(`it has the stream ${JSON.stringify(stream)}, ${why}`)
    else more += 1
  }
  return more === 0 ? named : [...named, `it has ${more} more such streams`]
}

function rewrittenParts(db: DatabaseSync): string[] {
  // A log of an older format does not have the table.
  if (!schemaOf(db).found.has('table rewritten')) return []
  const unseen = Number(db.prepare(UNSEEN).get()?.unseen)
  return unseen === 0
    ? []
    : [`its table rewritten has ${counted(unseen, 'row')} that no server makes or leaves there`]
}
