import { err, ok, type Result } from 'neverthrow'
import type { AgentCommand } from '../domain/commands.ts'
import { type Conversation, converse } from '../domain/conversation.ts'
import { decide } from '../domain/decide.ts'
import type { RunError } from '../domain/errors.ts'
import type { OpenCall, RunState } from '../domain/state.ts'
import { type PauseBoundsMs, pauseMs, sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import type { LoggedRecord } from '../log/codec.ts'
import {
  append,
  type LoadError,
  type LoadedRun,
  load,
  type PreparedAppend,
  prepare,
} from '../log/run-log.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { AskedCalls } from './asked-calls.ts'

/** A process whose append took longer may have been stopped meanwhile, and thought dead by others. */
const STALL_MS = 1_000

/** Why a process can go no further with a run. */
export type SessionError =
  | RunError
  | Exclude<LoadError, { type: 'store_unavailable' | 'store_failed' }>
  | Extract<AppendError, { type: 'append_too_large' }>
  /** The process lets go of the run: it stops, or the run is no longer its own. */
  | { readonly type: 'cancelled' }

/** Distributes over the union, so that what is common to all agent commands can be left out. */
type Report<C = AgentCommand> = C extends AgentCommand
  ? Omit<C, 'claimant' | 'readOnlyTools'>
  : never

export type SessionDeps = {
  readonly store: EventStore
  readonly claimant: string
  readonly readOnlyTools: ReadonlySet<string>
  readonly now: () => number
  readonly newId: () => string
  readonly retryMs: PauseBoundsMs
  readonly signal: AbortSignal
  /** Called with the state after each append of this process. */
  readonly onAppended?: (state: RunState) => void
  readonly log: Pick<Logger, 'info' | 'warn'>
}

/**
 * One process' view of a run: its folded state and conversation, and the one way to add to it. It is
 * brought up to date from the log whenever another writer was faster, and outlasts store outages.
 */
export class RunSession {
  #run: LoadedRun
  #conversation: Conversation
  readonly #deps: SessionDeps
  readonly #asked = new AskedCalls()
  #forgotten = false

  private constructor(run: LoadedRun, conversation: Conversation, deps: SessionDeps) {
    this.#run = run
    this.#conversation = conversation
    this.#deps = deps
  }

  /** Folds the run's stream from its beginning. */
  static async open(runId: string, deps: SessionDeps): Promise<Result<RunSession, SessionError>> {
    let conversation: Conversation | null = null
    const loaded = await loadPatiently(runId, null, deps, ({ record }) => {
      conversation = converse(conversation, record)
    })
    if (loaded.isErr()) return err(loaded.error)
    if (loaded.value === null || conversation === null) return err({ type: 'run_not_found' })
    return ok(new RunSession(loaded.value, conversation, deps))
  }

  get state(): RunState {
    return this.#run.state
  }

  get conversation(): Conversation {
    return this.#conversation
  }

  /** What is known of the run is not as it should be any more: see `refresh`. */
  forget(): void {
    this.#forgotten = true
  }

  /** Reads the run again from its beginning, if it was to be forgotten. */
  async refresh(): Promise<Result<void, SessionError>> {
    if (!this.#forgotten) return ok(undefined)
    this.#forgotten = false
    const again = await RunSession.open(this.#run.state.runId, this.#deps)
    if (again.isErr()) return err(again.error)
    this.#run = again.value.#run
    this.#conversation = again.value.#conversation
    return this.refresh()
  }

  /** A call with the arguments that the model gave; null where only masked ones are known. */
  callToRun(call: OpenCall): OpenCall | null {
    return this.#asked.callToRun(call)
  }

  /** Decides on the present state and appends; decides anew after each conflict. */
  async record(report: Report): Promise<Result<void, SessionError>> {
    const { claimant, readOnlyTools, now, newId } = this.#deps
    const command = { ...report, claimant, readOnlyTools } as AgentCommand
    for (;;) {
      const fresh = await this.refresh()
      if (fresh.isErr()) return err(fresh.error)
      const decided = decide(command, this.#run.state, now())
      if (decided.isErr()) return err(decided.error)
      this.#asked.keep(decided.value)
      const author = { commandId: newId() }
      const prepared = prepare(this.#run.state.runId, this.#run, decided.value, author)
      const began = performance.now()
      const appended = await this.#appendPatiently(prepared)
      if (appended.isErr()) return err(appended.error)
      if (appended.value === 'appended') {
        return performance.now() - began < STALL_MS ? ok(undefined) : this.#confirmClaim()
      }
      const caughtUp = await this.#catchUp()
      if (caughtUp.isErr()) return err(caughtUp.error)
    }
  }

  /** An append whose answer is lost, or that finds no store, is made again with the same ids. */
  async #appendPatiently(
    prepared: PreparedAppend,
  ): Promise<Result<'appended' | 'conflict', SessionError>> {
    const { store, log } = this.#deps
    for (let failures = 0; ; failures += 1) {
      const appended = await append(store, prepared)
      if (appended.isOk()) {
        if (failures > 0) log.info({ run_id: prepared.runId }, GOES_ON)
        for (const { record } of prepared.records) {
          this.#conversation = converse(this.#conversation, record)
        }
        this.#run = appended.value
        this.#deps.onAppended?.(this.#run.state)
        return ok('appended')
      }
      const { error } = appended
      if (error.type === 'wrong_expected_revision') return ok('conflict')
      if (error.type === 'append_too_large') return err(error)
      if (!(await pause(prepared.runId, error, failures, this.#deps))) {
        return err({ type: 'cancelled' })
      }
    }
  }

  /** Another process may have taken the run over behind the append: then what follows is its affair. */
  async #confirmClaim(): Promise<Result<void, SessionError>> {
    const caughtUp = await this.#catchUp()
    const { claimant } = this.#run.state
    if (caughtUp.isErr() || claimant === this.#deps.claimant) return caughtUp
    return err({ type: 'claim_lost', claimant })
  }

  async #catchUp(): Promise<Result<void, SessionError>> {
    const { runId } = this.#run.state
    const loaded = await loadPatiently(runId, this.#run, this.#deps, ({ record }) => {
      this.#conversation = converse(this.#conversation, record)
    })
    if (loaded.isErr()) return err(loaded.error)
    if (loaded.value !== null) this.#run = loaded.value
    return ok(undefined)
  }
}

/** Loads a run, waiting for a store that cannot be reached. Shows each record once. */
async function loadPatiently(
  runId: string,
  from: LoadedRun | null,
  deps: SessionDeps,
  visit: (record: LoggedRecord) => void,
): Promise<Result<LoadedRun | null, SessionError>> {
  let shown = from?.state.seq ?? -1
  const visitOnce = (logged: LoggedRecord): void => {
    if (logged.seq <= shown) return
    shown = logged.seq
    visit(logged)
  }
  for (let failures = 0; ; failures += 1) {
    const loaded = await load(deps.store, runId, from, visitOnce)
    if (loaded.isOk()) {
      if (failures > 0) deps.log.info({ run_id: runId }, GOES_ON)
      return ok(loaded.value)
    }
    const { error } = loaded
    if (error.type !== 'store_unavailable' && error.type !== 'store_failed') return err(error)
    if (!(await pause(runId, error, failures, deps))) return err({ type: 'cancelled' })
  }
}

const GOES_ON = 'the store works again: the run goes on'

/** Waits before the store is tried again; false as soon as the run is to be let go. */
function pause(
  runId: string,
  error: object,
  failures: number,
  { retryMs, signal, log }: SessionDeps,
): Promise<boolean> {
  if (failures === 0) log.warn({ run_id: runId, error }, 'the store is in trouble: the run waits')
  return sleep(pauseMs(retryMs, failures), signal)
}
