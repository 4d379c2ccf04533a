import { constants } from 'node:fs'
import { access, copyFile, mkdtemp, open, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as z from 'zod'
import { jsonOr } from '../lib/json.ts'
import { codeOf } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'
import { canonicalText } from '../log/commitment.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { RecordedEvent } from '../store/event-store.ts'
import { runColumns } from './read-model.ts'
import { isCurrent } from './read-model-file.ts'
import { RunTableRow } from './read-model-tables.ts'

/** The digest of a run's row. */
type ProjectedRun = { readonly seq: number; readonly digest: string }
/** The contents of a read model file. */
type ProjectedRuns = {
  readonly runs: ReadonlyMap<string, ProjectedRun>
  readonly last: Pick<RecordedEvent, 'id' | 'stream' | 'revision' | 'position'> | null
  digestOf(run: LoadedRun): string
}

const Place = z.object({
  id: z.string(),
  stream: z.string(),
  revision: z.int(),
  position: z.string(),
})

/** How often at most a copy is repeated because a writer has disturbed it. */
const ATTEMPTS = 5

/**
 * Reads a read model file; null if it does not exist, or another version made it. A server may have the file open, and
 * locks it, so this reads a copy.
 */
export async function readProjected(file: string): Promise<ProjectedRuns | null> {
  const folder = await folderForCopy(dirname(file))
  try {
    const copy = join(folder, 'read-model.sqlite')
    return (await copied(file, copy)) ? read(copy) : null
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Copies are in folders beside the file: if a crash leaves one, the runs in it are still in the data folder. */
const COPIES = 'verify-'
/** The process that made an older copy has ended. */
const LEFT_AFTER_MS = 24 * 3_600_000

/** In the temporary folder, if nothing can be written beside the file. */
async function folderForCopy(beside: string): Promise<string> {
  try {
    await access(beside, constants.W_OK)
  } catch {
    return mkdtemp(join(tmpdir(), 'retrai-verify-'))
  }
  await removeLeft(beside)
  return mkdtemp(join(beside, COPIES))
}

async function removeLeft(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(COPIES)) continue
    const path = join(folder, name)
    const made = await stat(path).catch(() => null)
    if (made === null || Date.now() - made.mtimeMs < LEFT_AFTER_MS) continue
    await rm(path, { recursive: true, force: true })
  }
}

/**
 * While the file is copied, pages may move to it from the write-ahead log. They are in the copy of that log as well,
 * unless SQLite has restarted the log meanwhile: then its header has changed.
 */
async function copied(file: string, copy: string): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const before = await walHeader(file)
    if (!(await copyIfThere(file, copy))) return false
    if (!(await copyIfThere(`${file}-wal`, `${copy}-wal`))) await rm(`${copy}-wal`, { force: true })
    if (before === (await walHeader(file))) return true
  }
  return false
}

async function copyIfThere(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE)
    return true
  } catch (cause) {
    if (isMissing(cause)) return false
    throw cause
  }
}

async function walHeader(file: string): Promise<string> {
  try {
    await using wal = await open(`${file}-wal`, 'r')
    const { buffer, bytesRead } = await wal.read(Buffer.alloc(32), 0, 32, 0)
    return buffer.subarray(0, bytesRead).toString('hex')
  } catch (cause) {
    if (isMissing(cause)) return ''
    throw cause
  }
}

const isMissing = (cause: unknown): boolean => codeOf(cause) === 'ENOENT'

function read(file: string): ProjectedRuns | null {
  const db = new DatabaseSync(file)
  try {
    if (!isCurrent(db)) return null
    const runs = new Map<string, ProjectedRun>()
    for (const found of db.prepare('SELECT * FROM runs').iterate()) {
      const { state, ...columns } = RunTableRow.parse(found)
      const digest = digestOf(columns, jsonOr(state, state))
      runs.set(columns.run_id, { seq: columns.seq, digest })
    }
    const place = 'SELECT event_id AS id, stream, revision, position FROM progress'
    const last = Place.safeParse(db.prepare(place).get()).data ?? null
    return {
      runs,
      last,
      digestOf: (run) => digestOf(runColumns(run), JSON.parse(JSON.stringify(run.state))),
    }
  } finally {
    db.close()
  }
}

function digestOf(columns: Omit<z.infer<typeof RunTableRow>, 'state'>, state: unknown): string {
  return sha256(canonicalText({ columns, state }))
}
