import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { CommandOnRun, FromLog, RunCommand } from '../domain/commands.ts'
import { decide } from '../domain/decide.ts'
import { BrokenInvariant, type RunError } from '../domain/errors.ts'
import { sumUsd } from '../domain/evolve-turns.ts'
import type { RunRecord } from '../domain/records.ts'
import type { SubagentEnd } from '../domain/related-runs.ts'
import type { RunState } from '../domain/state.ts'
import { reportOf } from '../domain/subagent-state.ts'
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
 * Folds the run (after `snapshot`, if one is known), looks up what the log says about the command, decides, and appends:
 * see `decideAndAppend`.
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
      // Only a command of a person on a run that exists needs more than the state of the run.
      if (
        run === null ||
        command.type === 'create' ||
        command.type === 'queue' ||
        'claimant' in command
      ) {
        return decide(command, state, now())
      }
      const facts = await factsFor({ command, run, author, store })
      return facts.andThen((fromLog) => decide(command, state, now(), fromLog))
    },
    author,
    { from: foldedRun(snapshot) },
  ).map((folded) => {
    const run = loadedRun(folded)
    if (run === null) throw new BrokenInvariant('a command was decided without a record')
    return run
  })
}

type Asked = {
  readonly command: CommandOnRun
  readonly run: LoadedRun
  readonly author: Author
  readonly store: StreamStore
}

/** What the log says about a command of a person, beside the state of its run. */
async function factsFor(asked: Asked): Promise<Result<FromLog, LoadError>> {
  const { command, run, store } = asked
  const { phase } = run.state
  const isAnswer = command.type === 'respond' || command.type === 'answer_approval'
  // A change of the configuration may end a pause.
  const mayAnswer = isAnswer || (command.type === 'configure' && phase.type === 'paused')
  const question = mayAnswer && 'seq' in phase ? phase.seq : undefined
  const hashes = await hashesOf([question, command.seen?.seq], asked)
  if (hashes.isErr()) return err(hashes.error)
  const isStarter = isAnswer ? await startedBy(asked) : ok(false)
  if (isStarter.isErr()) return err(isStarter.error)
  const subagents = command.type === 'abort' ? await subagentsSoFar(store, run.state) : ok([])
  return subagents.map((subagents) => ({
    hashes: hashes.value,
    isStarter: isStarter.value,
    subagents,
  }))
}

/** The hashes of records of the run. A record that it does not have is left out. */
async function hashesOf(
  seqs: readonly (number | undefined)[],
  { store, run: { state, head } }: Asked,
): Promise<Result<FromLog['hashes'], LoadError>> {
  const hashes = new Map([[state.seq, head]])
  for (const seq of new Set(seqs)) {
    if (seq === undefined || seq >= state.seq) continue
    const read = await readRecords(store, state.runId, seq, 1)
    if (read.isErr()) return err(read.error)
    for (const { meta } of read.value) hashes.set(seq, meta.hash)
  }
  return ok(hashes)
}

/** Whether the author started the run, or the one whose agents have led to it. It matters only if a rule asks for that. */
async function startedBy({ store, run, author }: Asked): Promise<Result<boolean, LoadError>> {
  const { phase } = run.state
  if (phase.type !== 'awaiting_approval' || phase.content.by === undefined) return ok(false)
  const origin = await originOf(store, run.state)
  // A caller without a name may have started it, and so may everybody if its beginning is not in the log.
  return origin.map((created) => {
    const { principal } = author
    return created === null || principal === undefined || created.meta.principal === principal
  })
}

/** The progress of the sub-agents that a run waits for, and of theirs. Those that are not in the log are left out. */
async function subagentsSoFar(
  store: StreamStore,
  parent: RunState,
): Promise<Result<readonly SubagentEnd[], LoadError>> {
  const ends: SubagentEnd[] = []
  for (const { run_id } of (parent.subagents ?? []).filter(({ end }) => end === null)) {
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
