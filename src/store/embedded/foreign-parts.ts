import type { DatabaseSync } from 'node:sqlite'
import { err, ok, type Result } from 'neverthrow'
import type { StoreFailure } from '../event-store.ts'
import { openExisting } from './existing-log.ts'
import { schemaOf } from './schema.ts'
import { storeFailed } from './sqlite-failure.ts'

/** How many streams of others are named. */
const MAX_NAMED = 20

/**
 * What is in the file of a log but was not put there by a server, or is not as a server made it: the records do not
 * show a foreign trigger, table or stream. Each part is a sentence without its full stop. A server may be writing to
 * the log.
 * @param isOurs whether a server makes a stream with this name
 */
export function foreignParts(
  file: string,
  isOurs: (stream: string) => boolean,
): Result<readonly string[], StoreFailure> {
  return openExisting(file).andThen((db) => {
    try {
      return ok([...schemaParts(db), ...streamParts(db, isOurs)])
    } catch (error) {
      return err(storeFailed(file, error))
    } finally {
      db.close()
    }
  })
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
  for (const { name } of db.prepare('SELECT name FROM streams').iterate()) {
    const stream = String(name)
    if (isOurs(stream)) continue
    if (named.length < MAX_NAMED)
      named.push(`it has the stream ${JSON.stringify(stream)}, which no server makes`)
    else more += 1
  }
  return more === 0 ? named : [...named, `it has ${more} more streams that no server makes`]
}
