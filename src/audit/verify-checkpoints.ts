import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { GENESIS } from '../store/chain.ts'
import { type CheckpointError, type CheckpointLog, readCheckpoints } from './checkpoint-stream.ts'
import { merkleRoot } from './merkle.ts'
import type { KnownKeys } from './public-keys.ts'
import type { Finding } from './report.ts'
import { leafOf, sortedHeads } from './run-heads.ts'
import type { RunReader } from './run-pages.ts'
import { checkpointHash, checkSeal } from './statements.ts'
import type { Checkpoint, RunHead } from './views.ts'

/** What is wrong with a checkpoint by itself; null where nothing is. */
export function sealFinding(checkpoint: Checkpoint, keys: KnownKeys): Finding | null {
  const seal = checkSeal(checkpoint, keys)
  if (seal === 'good') return null
  const message =
    seal === 'bad'
      ? `its signature is not one of the key ${checkpoint.key}`
      : `the key ${checkpoint.key} is not known, so its signature cannot be checked`
  return finding('signature', checkpoint, message)
}

/** Whether a checkpoint comes right behind another (null: is the first); null where it does. */
export function linkFinding(before: Checkpoint | null, checkpoint: Checkpoint): Finding | null {
  const number = before === null ? 0 : before.number + 1
  if (checkpoint.number !== number) {
    return finding('missing', checkpoint, `it stands where number ${number} is expected`)
  }
  const previous = before === null ? GENESIS : checkpointHash(before)
  if (checkpoint.previous === previous) return null
  return finding('unlinked', checkpoint, 'it does not follow the checkpoint before it')
}

/** Whether these are the runs that a checkpoint is made over; null where they are. */
export function rootFinding(checkpoint: Checkpoint, heads: Iterable<RunHead>): Finding | null {
  const sorted = sortedHeads(heads)
  const root = merkleRoot(sorted.map(leafOf)).toString('hex')
  if (root === checkpoint.root && sorted.length === checkpoint.runs) return null
  return finding('changed', checkpoint, 'the runs that are listed for it do not make its root')
}

function finding(problem: Finding['problem'], { number }: Checkpoint, message: string): Finding {
  return { problem, where: `checkpoint ${number}`, seq: null, message }
}

export type VerifiedCheckpoints = {
  readonly count: number
  /** As of the last one; null where there is none. */
  readonly latest: CheckpointLog | null
  /** As of the one with the wanted number; null where there is none. */
  readonly wanted: CheckpointLog | null
  readonly findings: readonly Finding[]
}

/** Verifies the checkpoints of a log: signatures, order, roots. */
export function verifyCheckpoints(
  store: RunReader,
  keys: KnownKeys,
  wantedNumber: number | null,
): ResultAsync<VerifiedCheckpoints, CheckpointError> {
  const verify = async (): Promise<Result<VerifiedCheckpoints, CheckpointError>> => {
    const findings: Finding[] = []
    let latest: CheckpointLog | null = null
    let wanted: CheckpointLog | null = null
    let count = 0
    for await (const entry of readCheckpoints(store)) {
      if (entry.isErr()) return err(entry.error)
      const { checkpoint, heads } = entry.value
      const before: Checkpoint | null = latest?.checkpoint ?? null
      if (checkpoint === null || checkpoint === before) continue
      count += 1
      const found = [
        sealFinding(checkpoint, keys),
        linkFinding(before, checkpoint),
        rootFinding(checkpoint, heads.values()),
      ]
      findings.push(...found.filter((each) => each !== null))
      latest = entry.value
      if (checkpoint.number === wantedNumber) wanted = { ...entry.value, heads: new Map(heads) }
    }
    return ok({ count, latest, wanted, findings })
  }
  return new ResultAsync(verify())
}
