import { randomUUID } from 'node:crypto'
import { open, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Checkpoint } from '../../api/audit.ts'
import { codeOf, messageOf } from '../../lib/message-of.ts'
import { checkpointHash } from '../proofs/statements.ts'

/** A checkpoint in a file beside the log. */
export type KeptCheckpoint = { readonly file: string; readonly checkpoint: Checkpoint }

/** A file that must hold such a checkpoint, and does not. `why` is a part of a sentence. */
export type UnreadableCheckpoint = { readonly file: string; readonly why: string }

/** What is beside a log. */
export type KeptBeside = {
  /** What the log must still have. */
  readonly kept: readonly KeptCheckpoint[]
  readonly unreadable: readonly UnreadableCheckpoint[]
}

export const NOTHING_KEPT: KeptBeside = { kept: [], unreadable: [] }

/** The last checkpoint that the server of this folder has written. */
const LAST = 'last-checkpoint.json'
/** Those that were the last one, until a log was found that does not have them. They stay until somebody deletes them. */
const LOST = /^lost-checkpoint-(?:\d+|unreadable)-[0-9a-f]{8}\.json$/

const lostName = (which: number | 'unreadable', digits: string): string =>
  `lost-checkpoint-${which}-${digits.slice(0, 8)}.json`

/** Reads the checkpoints in a data folder. */
export async function readKeptCheckpoints(dataDir: string): Promise<KeptBeside> {
  const names = await readdir(dataDir).catch(() => [])
  const files = names.filter((name) => name === LAST || LOST.test(name))
  const found = await Promise.all(files.map((file) => readKept(dataDir, file)))
  return {
    kept: found.flatMap((each) => (each !== null && 'checkpoint' in each ? [each] : [])),
    unreadable: found.flatMap((each) => (each !== null && 'why' in each ? [each] : [])),
  }
}

/** Null if there is no such file. */
async function readKept(
  dataDir: string,
  file: string,
): Promise<KeptCheckpoint | UnreadableCheckpoint | null> {
  let json: unknown
  try {
    json = JSON.parse(await readFile(join(dataDir, file), 'utf8'))
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? null : { file, why: messageOf(error) }
  }
  const checkpoint = Checkpoint.safeParse(json)
  if (checkpoint.success) return { file, checkpoint: checkpoint.data }
  return { file, why: 'it does not hold a checkpoint' }
}

/** Keeps the last checkpoint. If it cannot come after what was kept before, that is set aside. */
export async function keepCheckpoint(dataDir: string, checkpoint: Checkpoint): Promise<void> {
  const before = await readKept(dataDir, LAST)
  if (before !== null && !isBefore(before, checkpoint)) await setAside(dataDir, before)
  const file = join(dataDir, LAST)
  const written = await open(`${file}.new`, 'w', 0o600)
  try {
    await written.writeFile(`${JSON.stringify(checkpoint)}\n`)
    // Half a file after a loss of power would look as if somebody had damaged it.
    await written.sync()
  } finally {
    await written.close()
  }
  await rename(`${file}.new`, file)
}

const isBefore = (kept: KeptCheckpoint | UnreadableCheckpoint, other: Checkpoint): boolean =>
  'checkpoint' in kept &&
  kept.checkpoint.number < other.number &&
  kept.checkpoint.log_id === other.log_id

/** Gives a checkpoint that the log does not have, or that cannot be read, a name under which it is not overwritten. */
export async function setAside<T extends KeptCheckpoint | UnreadableCheckpoint>(
  dataDir: string,
  kept: T,
): Promise<T> {
  if ('why' in kept && LOST.test(kept.file)) return kept
  const file =
    'checkpoint' in kept
      ? lostName(kept.checkpoint.number, checkpointHash(kept.checkpoint))
      : lostName('unreadable', randomUUID())
  if (kept.file !== file) await rename(join(dataDir, kept.file), join(dataDir, file))
  return { ...kept, file }
}
