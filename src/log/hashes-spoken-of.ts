import { err, ok, type Result } from 'neverthrow'
import type { RunCommand } from '../domain/commands.ts'
import type { KnownHashes } from '../domain/decide.ts'
import type { EventStore } from '../store/event-store.ts'
import { type LoadError, type LoadedRun, readRecords } from './run-log.ts'

/**
 * The hashes of the records that a command speaks of: of the human check that it answers, and of what
 * the person says to have seen. A record that the run does not have is left out.
 */
export async function hashesSpokenOf(
  store: EventStore,
  command: RunCommand,
  run: LoadedRun | null,
): Promise<Result<KnownHashes, LoadError>> {
  const hashes = new Map<number, string>()
  if (run === null) return ok(hashes)
  const { seq: last, runId } = run.state
  for (const seq of spokenOf(command, run)) {
    if (seq === last) hashes.set(seq, run.head)
    if (seq >= last) continue
    const read = await readRecords(store, runId, seq, 1)
    if (read.isErr()) return err(read.error)
    for (const { meta } of read.value) hashes.set(seq, meta.hash)
  }
  return ok(hashes)
}

function spokenOf(command: RunCommand, { state: { phase } }: LoadedRun): ReadonlySet<number> {
  const seqs = new Set<number>()
  if (command.type === 'respond' && phase.type === 'awaiting_human') seqs.add(phase.seq)
  if ('seen' in command && command.seen) seqs.add(command.seen.seq)
  return seqs
}
