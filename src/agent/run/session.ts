import { err, ok, type Result } from 'neverthrow'
import type { AgentCommand, QueueCommand } from '../../domain/commands.ts'
import type { Conversation } from '../../domain/conversation.ts'
import { converse } from '../../domain/converse.ts'
import { decide } from '../../domain/decide.ts'
import type { RunError } from '../../domain/errors.ts'
import type { RunRecord } from '../../domain/records.ts'
import type { RunState } from '../../domain/state.ts'
import { type PauseBoundsMs, pauseMs, sleep } from '../../lib/backoff.ts'
import type { Logger } from '../../lib/logger.ts'
import type { LoggedRecord } from '../../log/codec.ts'
import { decideAndAppend, wasOvertaken } from '../../log/decider.ts'
import { type Beginning, beginningOf } from '../../log/lineage.ts'
import { patientStore, type StreamStore } from '../../log/patience.ts'
import {
  foldedRun,
  type LoadError,
  type LoadedRun,
  load,
  loadedRun,
  originOf,
  runStream,
} from '../../log/run-log.ts'
import type { AppendError } from '../../store/event-store.ts'

/** If an append took longer, this process may have been suspended, and others may consider it dead. */
const STALL_MS = 1_000

/** Why a process cannot continue a run. */
export type SessionError =
  | RunError
  | Exclude<LoadError, { type: 'store_unavailable' | 'store_failed' }>
  | Extract<AppendError, { type: 'append_too_large' }>
  /** This process must stop the work on the run: it stops, or the run is no longer its own. */
  | { readonly type: 'cancelled' }

/** Whether a step could be recorded. */
export type StepResult = Result<void, SessionError>

/** Distributes over the union, so that reports need not repeat the fields of all agent commands. */
type Report<C = AgentCommand | QueueCommand> = C extends AgentCommand
  ? Omit<C, 'claimant' | 'readOnlyTools'>
  : C

/** How the agent reads the log and adds to it. */
export type LogAccess = {
  readonly store: StreamStore
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  /** Pauses between attempts while the store is away. */
  readonly retryMs: PauseBoundsMs
  readonly log: Logger
}

/** The same, until the work stops: so long, an outage of the store is outlasted. */
export type LogAccessUntil = LogAccess & { readonly signal: AbortSignal }

type SessionDeps = LogAccessUntil & {
  readonly claimant: string
  readonly readOnlyTools: ReadonlySet<string>
}

/**
 * The view that one process has of a run: its folded state and conversation, and the only way to add to it. It reads
 * the log again when another writer was faster, and it outlasts outages of the store.
 */
export class RunSession {
  #run: LoadedRun
  #conversation: Conversation
  readonly #lineage: Beginning['lineage']
  readonly #deps: SessionDeps
  /** It outlasts outages, and fails only when the work on the run must stop. */
  readonly store: StreamStore
  #forgotten = false
  #redactions = 0
  #news = new AbortController()

  private constructor(
    run: LoadedRun,
    { lineage, conversation }: Beginning & { readonly conversation: Conversation },
    deps: SessionDeps,
  ) {
    this.#run = run
    this.#conversation = conversation
    this.#lineage = lineage
    this.#deps = deps
    this.store = outlasting(run.state.runId, deps)
  }

  /** Folds the run's stream from its beginning, after those of the runs that it begins from. */
  static async open(runId: string, deps: SessionDeps): Promise<Result<RunSession, SessionError>> {
    const store = outlasting(runId, deps)
    const begun = await beginningOf(store, runId)
    if (begun.isErr()) return err(sessionError(begun.error))
    let { conversation } = begun.value
    const visit = ({ record }: LoggedRecord): void => {
      conversation = converse(conversation, record)
    }
    const loaded = await load(store, runId, { visit })
    if (loaded.isErr()) return err(sessionError(loaded.error))
    if (loaded.value === null || conversation === null) return err({ type: 'run_not_found' })
    return ok(new RunSession(loaded.value, { ...begun.value, conversation }, deps))
  }

  get state(): RunState {
    return this.#run.state
  }

  get conversation(): Conversation {
    return this.#conversation
  }

  /** The project of the run that a person started, if this is the run of a sub-agent. Null if that is not known. */
  async root(): Promise<string | null | undefined> {
    if (this.state.parent === undefined) return undefined
    const origin = await originOf(this.store, this.state)
    const created = origin.isOk() ? origin.value?.record : null
    return created?.kind === 'run_created' ? created.payload.config.cwd : null
  }

  /** Whether it holds what a run says: its own, or one that it begins from. */
  holds(runId: string): boolean {
    return [this.state.runId, ...this.#lineage.map(({ run_id }) => run_id)].includes(runId)
  }

  /** A part of the run was redacted: see `refresh`. */
  forget(): void {
    this.#forgotten = true
    this.#redactions += 1
  }

  /** How often a part of the run was redacted since it was opened. */
  get redactions(): number {
    return this.#redactions
  }

  /** Seconds since the epoch. */
  get now(): number {
    return this.#deps.now()
  }

  /** A person has changed the run, or said something: a pause ends. */
  notice(): void {
    this.#news.abort()
  }

  /** Waits, until a person changes the run at the latest; false as soon as the work must stop. */
  async pause(ms: number): Promise<boolean> {
    const { signal } = this.#deps
    await sleep(ms, AbortSignal.any([signal, this.#news.signal]))
    this.#news = new AbortController()
    return !signal.aborted
  }

  /** Reads the run again from its beginning if it must be forgotten. */
  async refresh(): Promise<StepResult> {
    if (!this.#forgotten) return ok()
    this.#forgotten = false
    const again = await RunSession.open(this.#run.state.runId, this.#deps)
    if (again.isErr()) return err(again.error)
    this.#run = again.value.#run
    this.#conversation = again.value.#conversation
    return this.refresh()
  }

  /**
   * Decides on the present state and appends; decides again after each conflict.
   * @param wanted the report, or what makes it each time, when the run is as it will be decided on (null: nothing is to be
   *   recorded any more)
   */
  async record(wanted: Report | (() => Report | null)): Promise<StepResult> {
    const { claimant, readOnlyTools, signal } = this.#deps
    for (;;) {
      const fresh = await this.refresh()
      if (fresh.isErr()) return err(fresh.error)
      const report = typeof wanted === 'function' ? wanted() : wanted
      if (report === null) return ok()
      const command = { ...report, claimant, readOnlyTools } as AgentCommand
      const recorded = await this.#decideAndAppend(command)
      if (recorded.isOk()) return recorded.value < STALL_MS ? ok() : this.#confirmClaim()
      const { error } = recorded
      if (error.type === 'forgotten') continue
      if (!wasOvertaken(error, this.state.seq) || signal.aborted) return err(sessionError(error))
    }
  }

  /** @returns how long the append took, in milliseconds */
  async #decideAndAppend(command: AgentCommand) {
    const { now, newId } = this.#deps
    let began = 0
    const appended = await decideAndAppend(
      this.store,
      runStream(this.#run.state.runId),
      (state, folded): Result<readonly RunRecord[], RunError | { readonly type: 'forgotten' }> => {
        this.#run = loadedRun(folded) ?? this.#run
        // The decision must not use text that was redacted meanwhile.
        if (this.#forgotten) return err({ type: 'forgotten' })
        const decided = decide(command, state, now())
        began = performance.now()
        return decided
      },
      { commandId: newId() },
      { from: foldedRun(this.#run), isCurrent: true, visit: this.#visit },
    )
    return appended.map((folded) => {
      this.#run = loadedRun(folded) ?? this.#run
      return performance.now() - began
    })
  }

  readonly #visit = ({ record }: LoggedRecord): void => {
    this.#conversation = converse(this.#conversation, record)
  }

  /** Reads what others have added to the run. */
  async update(): Promise<StepResult> {
    const from = this.#run
    const loaded = await load(this.store, from.state.runId, { from, visit: this.#visit })
    if (loaded.isErr()) return err(sessionError(loaded.error))
    this.#run = loaded.value ?? from
    return ok()
  }

  /** Checks after a slow append whether another process has claimed the run and continues it. */
  async #confirmClaim(): Promise<StepResult> {
    const updated = await this.update()
    if (updated.isErr()) return updated
    const { claimant } = this.#run.state
    return claimant === this.#deps.claimant ? ok() : err({ type: 'claim_lost', claimant })
  }
}

/** A store that waits while the real one fails, until the work on the run must stop. */
export function outlasting(
  runId: string,
  { store, retryMs, signal, log }: LogAccessUntil,
): StreamStore {
  return patientStore(store, {
    wait: (error, failures) => {
      const fields = { run_id: runId, error }
      if (failures === 0) log.warn(fields, 'the store is in trouble: the run waits')
      return sleep(pauseMs(retryMs, failures), signal)
    },
    onRecovery: () => log.info({ run_id: runId }, 'the store works again: the run continues'),
  })
}

/** An error of the store arrives here only if the work on the run must stop. */
function sessionError<E extends RunError | AppendError | LoadError>(error: E): SessionError {
  switch (error.type) {
    case 'store_unavailable':
    case 'store_failed':
    case 'outcome_unknown':
    case 'wrong_expected_revision':
      return { type: 'cancelled' }
    default:
      return error
  }
}
