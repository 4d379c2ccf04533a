import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Checkpoint } from '../../api/audit.ts'
import { checkpointHash } from '../proofs/statements.ts'

/** A checkpoint in a file beside the log. */
export type KeptCheckpoint = { readonly file: string; readonly checkpoint: Checkpoint }

/** The last checkpoint that the server of this folder has written. */
const LAST = 'last-checkpoint.json'
/** Those that were the last one, until a log was found that does not have them. They stay until somebody deletes them. */
const LOST = /^lost-checkpoint-\d+-[0-9a-f]{8}\.json$/

const lostName = (checkpoint: Checkpoint): string =>
  `lost-checkpoint-${checkpoint.number}-${checkpointHash(checkpoint).slice(0, 8)}.json`

/** What the log of this data folder must still have. A file that cannot be read counts as none. */
export async function readKeptCheckpoints(dataDir: string): Promise<readonly KeptCheckpoint[]> {
  const names = await readdir(dataDir).catch(() => [])
  const files = names.filter((name) => name === LAST || LOST.test(name))
  const kept = await Promise.all(files.map((file) => readKept(dataDir, file)))
  return kept.filter((each) => each !== null)
}

async function readKept(dataDir: string, file: string): Promise<KeptCheckpoint | null> {
  try {
    const checkpoint = Checkpoint.parse(JSON.parse(await readFile(join(dataDir, file), 'utf8')))
    return { file, checkpoint }
  } catch {
    return null
  }
}

/** Keeps the last checkpoint. If it cannot come after the one that was kept before, that one is set aside. */
export async function keepCheckpoint(dataDir: string, checkpoint: Checkpoint): Promise<void> {
  const before = await readKept(dataDir, LAST)
  if (before !== null && !isBefore(before.checkpoint, checkpoint)) await setAside(dataDir, before)
  const file = join(dataDir, LAST)
  await writeFile(`${file}.new`, `${JSON.stringify(checkpoint)}\n`, { mode: 0o600 })
  await rename(`${file}.new`, file)
}

const isBefore = (one: Checkpoint, other: Checkpoint): boolean =>
  one.number < other.number && one.log_id === other.log_id

/** Gives a checkpoint that the log does not have a name under which it is not overwritten. */
export async function setAside(dataDir: string, kept: KeptCheckpoint): Promise<KeptCheckpoint> {
  const file = lostName(kept.checkpoint)
  if (kept.file !== file) await rename(join(dataDir, kept.file), join(dataDir, file))
  return { ...kept, file }
}
