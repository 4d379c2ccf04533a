import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { RunCommand } from '../domain/commands.ts'
import { decide, type KnownHashes } from '../domain/decide.ts'
import { BrokenInvariant, type RunError } from '../domain/errors.ts'
import type { RunRecord } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { decideAndAppend } from './decider.ts'
import {
  type Author,
  foldedRun,
  type LoadError,
  type LoadedRun,
  loadedRun,
  readRecords,
  runStream,
} from './run-log.ts'

export type CommandError = RunError | AppendError | LoadError

/**
 * Folds the run (after `snapshot`, if one is known), decides, and appends: see `decideAndAppend`.
 * @param now seconds since the epoch
 */
export function handleCommand(
  store: EventStore,
  runId: string,
  command: RunCommand,
  options: {
    readonly author: Author
    readonly now: () => number
    readonly snapshot?: LoadedRun | null
  },
): ResultAsync<LoadedRun, CommandError> {
  const { author, now, snapshot = null } = options
  return decideAndAppend<RunRecord, RunState | null, RunError | LoadError>(
    store,
    runStream(runId),
    async (state, folded) => {
      const hashes = await referencedHashes(store, command, loadedRun(folded))
      if (hashes.isErr()) return err(hashes.error)
      return decide(command, state, now(), hashes.value)
    },
    author,
    { from: foldedRun(snapshot) },
  ).map((folded) => {
    const run = loadedRun(folded)
    if (run === null) throw new BrokenInvariant('a command was decided without a record')
    return run
  })
}

/**
 * The hashes of the records that a command refers to: the human check that it answers, and the record that the
 * person has seen. A record that the run does not have is left out.
 */
async function referencedHashes(
  store: EventStore,
  command: RunCommand,
  run: LoadedRun | null,
): Promise<Result<KnownHashes, LoadError>> {
  const hashes = new Map<number, string>()
  if (run === null) return ok(hashes)
  const { seq: last, runId } = run.state
  for (const seq of referencedSeqs(command, run)) {
    if (seq === last) hashes.set(seq, run.head)
    if (seq >= last) continue
    const read = await readRecords(store, runId, seq, 1)
    if (read.isErr()) return err(read.error)
    for (const { meta } of read.value) hashes.set(seq, meta.hash)
  }
  return ok(hashes)
}

function referencedSeqs(command: RunCommand, { state: { phase } }: LoadedRun): ReadonlySet<number> {
  const seqs = new Set<number>()
  if (command.type === 'respond' && phase.type === 'awaiting_human') seqs.add(phase.seq)
  if ('seen' in command && command.seen) seqs.add(command.seen.seq)
  return seqs
}
