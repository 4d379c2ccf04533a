import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import type { Checkpoint } from './batch.ts'
import { isInUse, isOfOthers, openReadModelFile, removeReadModelFile } from './read-model-file.ts'
import { Altered, Sealer, sealKey } from './read-model-seal.ts'
import { ReadModelTables } from './read-model-tables.ts'

export type ReadModelOptions = {
  /** Path of the SQLite file. It belongs to the read model and may be deleted at any time it is closed. */
  readonly file: string
  readonly log: Logger
}

export type ReadModelFailure =
  /** Another process has the file open. */
  | { readonly type: 'read_model_in_use'; readonly message: string }
  /** The file system or SQLite refuses: no access, a full disk. */
  | { readonly type: 'read_model_failed'; readonly message: string }

/** What SQLite or the file system threw, as an error that is a value. */
export function failure(file: string, cause: unknown): ReadModelFailure {
  if (isInUse(cause)) {
    return {
      type: 'read_model_in_use',
      message: `another process has ${file} open: give each server a data folder of its own`,
    }
  }
  return { type: 'read_model_failed', message: `${file}: ${messageOf(cause)}` }
}

/** An open file, and what is kept of it in memory. */
export type Contents = {
  readonly tables: ReadModelTables
  readonly damaged: Set<string>
  logId: string | null
  checkpoint: Checkpoint | null
  /** Why the file that was there was thrown away, if it was not what a server had written. */
  altered: string | null
}

function open({ file }: ReadModelOptions): Contents {
  const db = openReadModelFile(file)
  try {
    const tables = new ReadModelTables(db, new Sealer(sealKey(`${file}.key`)))
    tables.verify()
    const [damaged, logId] = [tables.damaged(), tables.logId()]
    return { tables, damaged, logId, checkpoint: tables.checkpoint(), altered: null }
  } catch (cause) {
    db.close()
    throw cause
  }
}

/** Throws the file away and makes an empty one. @throws what SQLite and the file system throw */
export function openAnew(options: ReadModelOptions, reason: string): Contents {
  const { file, log } = options
  removeReadModelFile(file)
  const contents = open(options)
  log.warn({ file, reason }, 'the read model was thrown away and is rebuilt from the log')
  return contents
}

/**
 * Opens the file; one that is damaged or was made by another version is thrown away.
 * @throws when another process has the file open, it is no read model, or none can be made there
 */
export function openOrRemake(options: ReadModelOptions): Contents {
  try {
    return open(options)
  } catch (cause) {
    if (isOfOthers(cause)) throw cause
    const contents = openAnew(options, messageOf(cause))
    if (cause instanceof Altered) contents.altered = cause.message
    return contents
  }
}
