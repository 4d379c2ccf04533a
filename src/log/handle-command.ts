import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { FromLog, RunCommand } from '../domain/commands.ts'
import { decide } from '../domain/decide.ts'
import { BrokenInvariant, type RunError } from '../domain/errors.ts'
import { sumUsd } from '../domain/evolve-calls.ts'
import type { RunRecord } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'
import { reportOf } from '../domain/subagent-state.ts'
import type { SubagentEnd } from '../domain/subagents.ts'
import type { AppendError } from '../store/event-store.ts'
import { decideAndAppend } from './decider.ts'
import type { StreamStore } from './patience.ts'
import {
  type Author,
  foldedRun,
  type LoadError,
  type LoadedRun,
  load,
  loadedRun,
  originOf,
  readRecords,
  runStream,
} from './run-log.ts'

export type CommandError = RunError | AppendError | LoadError

/**
 * Folds the run (after `snapshot`, if one is known), decides, and appends: see `decideAndAppend`.
 * @param now seconds since the epoch
 */
export function handleCommand(
  store: StreamStore,
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
      const run = loadedRun(folded)
      const hashes = await referencedHashes(store, command, run)
      if (hashes.isErr()) return err(hashes.error)
      const isStarter = await startedBy(store, run, author)
      if (isStarter.isErr()) return err(isStarter.error)
      const fromLog = { hashes: hashes.value, isStarter: isStarter.value }
      const subagents = command.type === 'abort' ? await subagentsSoFar(store, state) : ok([])
      if (subagents.isErr()) return err(subagents.error)
      const known = subagents.value.length === 0 ? {} : { subagents: subagents.value }
      return decide({ ...command, ...known }, state, now(), fromLog)
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
 * Whether the author started the run, or the one whose agents have led to it. It matters only if the run waits for an
 * answer of somebody else.
 */
async function startedBy(
  store: StreamStore,
  run: LoadedRun | null,
  { principal }: Author,
): Promise<Result<boolean, LoadError>> {
  const phase = run?.state.phase
  if (run === null || phase?.type !== 'awaiting_approval' || phase.content.by === undefined) {
    return ok(false)
  }
  const origin = await originOf(store, run.state)
  // A caller without a name may have started it, and so may everybody if its beginning is not in the log.
  return origin.map(
    (created) =>
      created === null || principal === undefined || created.meta.principal === principal,
  )
}

/** The progress of the sub-agents that a run waits for, and of theirs. Those that are not in the log are left out. */
async function subagentsSoFar(
  store: StreamStore,
  parent: RunState | null,
): Promise<Result<readonly SubagentEnd[], LoadError>> {
  const ends: SubagentEnd[] = []
  for (const { run_id } of (parent?.subagents ?? []).filter(({ end }) => end === null)) {
    const run = await load(store, run_id)
    if (run.isErr()) return err(run.error)
    if (run.value === null) continue
    const { state, head } = run.value
    const below = await subagentsSoFar(store, state)
    if (below.isErr()) return err(below.error)
    const own = reportOf(state, head)
    const tokens = below.value.reduce((sum, end) => sum + end.tokens, own.tokens)
    const cost_usd = below.value.reduce((sum, end) => sumUsd(sum, end.cost_usd), own.cost_usd)
    ends.push({ ...own, tokens, cost_usd })
  }
  return ok(ends)
}

/**
 * The hashes of the records that a command refers to: the human check that it answers, and the record that the
 * person has seen. A record that the run does not have is left out.
 */
async function referencedHashes(
  store: StreamStore,
  command: RunCommand,
  run: LoadedRun | null,
): Promise<Result<FromLog['hashes'], LoadError>> {
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
  const answers = command.type === 'respond' || command.type === 'answer_approval'
  if (answers && 'seq' in phase) seqs.add(phase.seq)
  if ('seen' in command && command.seen) seqs.add(command.seen.seq)
  return seqs
}
