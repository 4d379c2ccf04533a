import { randomUUID } from 'node:crypto'
import { readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Checkpoint } from '../api/audit.ts'
import { codeOf, messageOf } from '../lib/message-of.ts'
import { writeDurably } from '../lib/write-durably.ts'
import { checkpointHash } from './public-keys.ts'

/** A file beside a log, with a checkpoint that the log must still have. `why` it cannot be read is a part of a sentence. */
export type KeptCheckpoint = { readonly file: string } & (
  | { readonly checkpoint: Checkpoint }
  | { readonly checkpoint: null; readonly why: string }
)

/** The last checkpoint that the server of this folder has written. */
const LAST = 'last-checkpoint.json'
/** Those that were the last one, until a log was found that does not have them. They stay until somebody deletes them. */
const LOST = /^lost-checkpoint-(?:\d+|unreadable)-[0-9a-f]{8}\.json$/

/** Reads the checkpoints in a data folder. */
export async function readKeptCheckpoints(dataDir: string): Promise<readonly KeptCheckpoint[]> {
  const names = await readdir(dataDir).catch(() => [])
  const files = names.filter((name) => name === LAST || LOST.test(name))
  const found = await Promise.all(files.map((file) => readKept(dataDir, file)))
  return found.filter((each) => each !== null)
}

/** Null if there is no such file. */
async function readKept(dataDir: string, file: string): Promise<KeptCheckpoint | null> {
  try {
    const parsed = Checkpoint.safeParse(JSON.parse(await readFile(join(dataDir, file), 'utf8')))
    if (parsed.success) return { file, checkpoint: parsed.data }
    return { file, checkpoint: null, why: 'it does not hold a checkpoint' }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    return { file, checkpoint: null, why: messageOf(error) }
  }
}

/** Keeps the last checkpoint. If it cannot come after what was kept before, that is set aside. */
export async function keepCheckpoint(dataDir: string, checkpoint: Checkpoint): Promise<void> {
  const before = await readKept(dataDir, LAST)
  const { number = checkpoint.number, log_id } = before?.checkpoint ?? {}
  const isNext = number < checkpoint.number && log_id === checkpoint.log_id
  if (before !== null && !isNext) await setAside(dataDir, before)
  // Half a file after a loss of power would look as if somebody had damaged it.
  await writeDurably(join(dataDir, LAST), `${JSON.stringify(checkpoint)}\n`)
}

/** Gives a checkpoint that the log does not have, or that cannot be read, a name under which it is not overwritten. */
export async function setAside(dataDir: string, kept: KeptCheckpoint): Promise<KeptCheckpoint> {
  const { file: before, checkpoint } = kept
  if (LOST.test(before)) return kept
  const which = checkpoint?.number ?? 'unreadable'
  const digits = checkpoint === null ? randomUUID() : checkpointHash(checkpoint)
  const file = `lost-checkpoint-${which}-${digits.slice(0, 8)}.json`
  await rename(join(dataDir, before), join(dataDir, file))
  return { ...kept, file }
}
