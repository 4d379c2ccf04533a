import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { FromLog, RunCommand } from '../domain/commands.ts'
import { decide } from '../domain/decide.ts'
import { BrokenInvariant, type RunError } from '../domain/errors.ts'
import { sumUsd } from '../domain/evolve-calls.ts'
import type { RunRecord } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'
import { reportOf, subagentOf } from '../domain/subagent-state.ts'
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
      const subagent = command.type === 'abort' ? await subagentSoFar(store, state) : ok(null)
      if (subagent.isErr()) return err(subagent.error)
      const known = subagent.value === null ? {} : { subagent: subagent.value }
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

/** Whether the author started the run, if that matters: if it waits for an answer of somebody else. */
async function startedBy(
  store: StreamStore,
  run: LoadedRun | null,
  { principal }: Author,
): Promise<Result<boolean, LoadError>> {
  const phase = run?.state.phase
  if (run === null || phase?.type !== 'awaiting_approval' || phase.content.by === undefined) {
    return ok(false)
  }
  const first = await readRecords(store, run.state.runId, 0, 1)
  // A caller without a name may have started the run.
  return first.map(([created]) => principal === undefined || created?.meta.principal === principal)
}

/** How far the sub-agent is that a run waits for, with its own sub-agents; null if the log does not hold it. */
async function subagentSoFar(
  store: StreamStore,
  parent: RunState | null,
): Promise<Result<SubagentEnd | null, LoadError>> {
  const waitedFor = parent === null ? null : subagentOf(parent)
  if (waitedFor === null) return ok(null)
  const run = await load(store, waitedFor.run_id)
  if (run.isErr()) return err(run.error)
  if (run.value === null) return ok(null)
  const { state, head } = run.value
  const below = await subagentSoFar(store, state)
  return below.map((deeper) => {
    const own = reportOf(state, head)
    if (deeper === null) return own
    const cost_usd = sumUsd(own.cost_usd, deeper.cost_usd)
    return { ...own, tokens: own.tokens + deeper.tokens, cost_usd }
  })
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
