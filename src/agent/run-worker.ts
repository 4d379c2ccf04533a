import { ok, type Result } from 'neverthrow'
import { crashReason } from '../domain/decide-for-agent.ts'
import { crashesAfter } from '../domain/evolve.ts'
import type { RunState } from '../domain/state.ts'
import { Backoff, type PauseBoundsMs, pauseMs, sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import { decode } from '../log/codec.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import type { Effects } from './effects.ts'
import { isOpenTo } from './foreign-runs.ts'
import type { Obstacle } from './obstacle.ts'
import { endWithParent } from './parents.ts'
import { runLoop } from './run-loop.ts'
import { RunSession, type SessionError } from './run-session.ts'
import { Subagents } from './subagents.ts'
import { Turn, type Turns } from './turns.ts'

export type WorkerDeps = {
  readonly store: EventStore
  readonly effects: Effects
  readonly process: ProcessIdentity
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  readonly retryMs: PauseBoundsMs
  /** The pool of this server: it works on no run of another one. Null if it may work on all runs. */
  readonly pool: string | null
  /** How long a run that this server cannot work on, or only with a fallback model, is left to others. */
  readonly queueAfterMs: number
  readonly log: Logger
  /** Why the process with this claimant does not work on its runs any more; undefined if it was stopped, or nobody knows. */
  readonly lossOf: (claimant: string) => 'crash' | 'lease_expired' | undefined
}

/** How long a run may wait for its turn before that is recorded. */
const QUEUED_AFTER_MS = 1_000
/** How long a run rests that two crashes interrupted, or three, or four. */
const RESTS_MS = [5_000, 30_000, 180_000] as const

/** Whether the work on a run is over, or begins when this server can work on it, or after a rest. */
type Outcome = 'over' | 'later' | { readonly restMs: number }

/** This process, as `run_claimed` names it. */
type ProcessIdentity = {
  /** The server, the same through all its restarts. */
  readonly server: string
  /** Unique to each start; begins with the server and a slash. */
  readonly claimant: string
  readonly pid: number
  readonly host: string
}

/** Whose runs may be claimed, in addition to own ones: of any process, of none, or of one claimant (null: of no claimant). */
export type From = 'anyone' | 'nobody' | { readonly claimant: string | null }

/** The content of a `run_end`, for the logger. */
type End = { readonly status: string; readonly reason: string }

/** Works on one run when its turn comes, until the run ends, waits for a person, or belongs to another process. */
export class RunWorker {
  /** Resolves when the work on the run is over. */
  readonly done: Promise<void>
  /** Set if something happened that this worker may not have seen: the run must then be taken up again, from this. */
  again: From | null = null
  readonly #runId: string
  readonly #from: From
  readonly #deps: WorkerDeps
  readonly #turns: Turns
  readonly #turn: Turn
  readonly #stop = new AbortController()
  /** Whether it still waits for its turn. */
  #waiting = true
  /** How the run ended, once the log shows it. */
  #end: End | null = null
  /** Null until the run is read. */
  #session: RunSession | null = null
  /** Others may have added to the run since it was read. */
  #isStale = false
  /** Why this server cannot work on the run, as it recorded last. */
  #reported: string | null = null
  /** Why the work could not begin, as it was logged last. */
  #failure: string | null = null
  /** Whether it has rested after crashes. */
  #rested = false
  /** A redaction changed the run while it was being read. */
  #redacted = false

  constructor(runId: string, from: From, turns: Turns, deps: WorkerDeps) {
    this.#runId = runId
    this.#from = from
    this.#deps = deps
    this.#turns = turns
    this.#turn = new Turn(turns, this.#stop.signal)
    this.done = this.#takeTurns()
  }

  /** Whether it exists to take the run over from this claimant. */
  takesFrom(claimant: string): boolean {
    return typeof this.#from === 'object' && this.#from.claimant === claimant
  }

  /** Stops the work on the run, and ends its commands. */
  stop(): void {
    this.#stop.abort()
  }

  /** Makes the worker read the run again before its next step. */
  forget(): void {
    this.#redacted = true
    this.#session?.forget()
  }

  /** Whether the run has ended, as far as this worker knows. */
  get hasEnded(): boolean {
    return this.#end !== null || this.#session?.state.phase.type === 'ended'
  }

  noticeEnd(event: RecordedEvent): void {
    const decoded = decode(event)
    if (decoded.isOk() && decoded.value.record.kind === 'run_end') {
      const { status, reason } = decoded.value.record.payload
      this.#end = { status, reason }
    }
    this.stop()
  }

  /**
   * Stops if another process has claimed the run after everything that is known of it here. A claim that arrives while
   * the run is being read does not matter: this worker's own claim then comes after it.
   */
  noticeClaim(event: RecordedEvent): void {
    const decoded = decode(event)
    if (decoded.isErr() || decoded.value.record.kind !== 'run_claimed') return
    if (decoded.value.record.payload.claimant === this.#deps.process.claimant) return
    const known = this.#session?.state.seq ?? Number.POSITIVE_INFINITY
    if (this.#waiting || event.revision > known) this.stop()
  }

  /** A person has changed the run, or answered its question. */
  noticeChange(): void {
    this.#isStale = true
    this.#session?.notice()
  }

  /** While this server cannot work on the run, it leaves its turn to other runs and tries again later. */
  async #takeTurns(): Promise<void> {
    const { signal } = this.#stop
    const backoff = new Backoff(this.#deps.retryMs)
    for (;;) {
      if (!(await this.#takeTurn())) return
      let outcome: Outcome
      try {
        outcome = await this.#work()
      } finally {
        this.#turn.end()
      }
      if (outcome === 'over') return
      const wait = outcome === 'later' ? backoff.wait(signal) : sleep(outcome.restMs, signal)
      if (!(await wait)) return
    }
  }

  /** Waits for the turn; false if the work is stopped before. A run that waits for long is recorded as queued. */
  async #takeTurn(): Promise<boolean> {
    const { signal } = this.#stop
    const taken = this.#turn.take()
    const soon = Promise.race([taken, sleep(QUEUED_AFTER_MS, signal).then(() => null)])
    if ((await soon) !== null || signal.aborted) return taken
    const release = await this.#turns.reading.acquire(signal)
    await this.#queueForTurn().catch((cause) => this.#tryAgain(cause))
    release?.()
    return taken
  }

  async #queueForTurn(): Promise<void> {
    const session = this.#session ?? (await this.#open()).unwrapOr(null)
    if (session === null || !this.#mayTake(session.state)) return
    const { limit } = this.#turns
    const reason = `It waits for its turn: ${limit === 1 ? 'one run is' : `${limit} runs are`} at work on ${this.#deps.process.host}, the most that RETRAI_MAX_RUNS_AT_WORK allows.`
    const { claimant: expected } = session.state
    const queued = await session.record({ type: 'queue', reason, expected, overrides: false })
    if (queued.isErr()) this.#report(queued.error)
  }

  async #open(): Promise<Result<RunSession, SessionError>> {
    const opened = await RunSession.open(this.#runId, {
      ...this.#deps,
      claimant: this.#deps.process.claimant,
      readOnlyTools: this.#deps.effects.toolbox.readOnly,
      signal: this.#stop.signal,
    })
    if (opened.isOk() && this.#redacted) opened.value.forget()
    return opened
  }

  async #work(): Promise<Outcome> {
    this.#waiting = false
    const begun = await this.#begin().catch((cause) => this.#tryAgain(cause))
    if (!(begun instanceof RunSession)) return begun
    await this.#run(begun)
    return 'over'
  }

  /** Reads and claims the run. */
  async #begin(): Promise<RunSession | Outcome> {
    const opened = this.#session === null ? await this.#open() : ok(this.#session)
    if (opened.isErr()) return this.#report(opened.error)
    const session = opened.value
    this.#session = session
    const { parent } = session.state
    if (parent !== undefined && session.state.phase.type !== 'ended') {
      const deps = { ...this.#deps, signal: this.#stop.signal }
      const ended = await endWithParent(this.#runId, parent.run_id, deps)
      if (ended.isErr()) return 'later'
      if (ended.value) return 'over'
    }
    if (!this.#mayTake(session.state)) return 'over'
    const obstacle = await this.#obstacle(session)
    if (obstacle?.type === 'cannot_work') return this.#queue(session, obstacle.reason)
    if (obstacle !== null && !(await this.#leaveToOthers())) return 'over'
    const rest = this.#rested ? null : await this.#restAfterCrashes(session)
    if (rest !== null) return rest
    return (await this.#claim(session)) ? session : 'over'
  }

  /** What was under way in two crashes may be their cause: it is tried again after a rest. Null if it needs none. */
  async #restAfterCrashes(session: RunSession): Promise<Outcome | null> {
    const { state } = session
    const { claimant: expected } = state
    if (expected === this.#deps.process.claimant) return null
    const crashes = crashesAfter(state, this.#loss(state) === 'crash')
    const ms = RESTS_MS[crashes - 2]
    if (ms === undefined) return null
    const reason = `${crashReason(state, crashes)}. It is tried again after a pause of up to ${ms / 1_000} seconds.`
    const queued = await session.record({ type: 'queue', reason, expected, overrides: true })
    if (queued.isErr()) return this.#report(queued.error)
    this.#rested = true
    this.#session = null
    return { restMs: pauseMs([ms, ms], 0) }
  }

  #loss({ claimant }: RunState) {
    return claimant === null ? undefined : this.#deps.lossOf(claimant)
  }

  /** After an unexpected exception before the work: nothing was done for the run, and it is read again. */
  #tryAgain(err: unknown): 'later' {
    const { log } = this.#deps
    const why = messageOf(err)
    if (why !== this.#failure && !this.#stop.signal.aborted) {
      log.error({ run_id: this.#runId, err }, 'the work on a run cannot begin: retrying')
    }
    this.#failure = why
    this.#session = null
    return 'later'
  }

  async #run(session: RunSession): Promise<void> {
    const { log, effects } = this.#deps
    const subagents = new Subagents(session, {
      ...this.#deps,
      rules: effects.subagents ?? null,
      giveTurn: (wait) => this.#turn.give(wait),
    })
    const ended = await runLoop(session, effects, subagents, this.#stop.signal)
    // The end may arrive from the log before the loop has seen that its last append was the end.
    const end = this.#end ?? endOf(session.state)
    if (end !== null) {
      log.info({ run_id: this.#runId, ...end }, 'run ended')
    } else if (ended.isErr()) this.#report(ended.error)
    else log.info({ run_id: this.#runId }, 'run waits for a person')
  }

  /** If another process has claimed the run meanwhile, that claim wins. */
  #mayTake({ claimant, pool }: RunState): boolean {
    if (claimant === this.#deps.process.claimant) return true
    if (!isOpenTo(this.#deps.pool, pool)) return false
    const from = this.#from
    return from === 'anyone' || (from !== 'nobody' && from.claimant === claimant)
  }

  /** Why this server should not claim the run now; null if it can, or has. */
  async #obstacle(session: RunSession): Promise<Obstacle | null> {
    if (session.state.claimant === this.#deps.process.claimant) return null
    if (this.#isStale) {
      this.#isStale = false
      const updated = await session.update()
      if (updated.isErr()) this.#report(updated.error)
    }
    return (await this.#deps.effects.obstacle?.(session.state)) ?? null
  }

  /** Waits while other servers may claim the run; false if it was stopped meanwhile. */
  #leaveToOthers(): Promise<boolean> {
    return sleep(this.#deps.queueAfterMs, this.#stop.signal)
  }

  async #queue(session: RunSession, reason: string): Promise<'over' | 'later'> {
    const { log } = this.#deps
    if (reason === this.#reported && session.state.queued !== null) return 'later'
    if (this.#reported === null && !(await this.#leaveToOthers())) return 'over'
    const { claimant: expected } = session.state
    const queued = await session.record({ type: 'queue', reason, expected, overrides: true })
    if (queued.isErr()) return this.#report(queued.error)
    if (reason !== this.#reported) log.warn({ run_id: this.#runId, reason }, 'run is queued')
    this.#reported = reason
    return 'later'
  }

  /** Whether this process holds the run now. */
  async #claim(session: RunSession): Promise<boolean> {
    const { log, process } = this.#deps
    const { claimant } = session.state
    if (claimant === process.claimant) return true
    const { pid, host } = process
    const after = this.#loss(session.state)
    const claim = { type: 'claim', expected: claimant, pid, host, after } as const
    const claimed = await session.record(claim)
    if (claimed.isErr()) this.#report(claimed.error)
    else log.info({ run_id: this.#runId, taken_from: claimant }, 'run claimed')
    return claimed.isOk()
  }

  #report(error: SessionError): 'over' {
    const { log } = this.#deps
    const fields = { run_id: this.#runId, error }
    switch (error.type) {
      case 'cancelled':
      case 'run_ended':
      case 'claim_lost':
        log.info(fields, 'work on the run stopped')
        break
      case 'damaged_record':
        log.error(fields, 'run cannot be read, so nothing works on it')
        break
      default:
        log.error(fields, 'run cannot continue')
    }
    return 'over'
  }
}

function endOf({ phase }: RunState): End | null {
  return phase.type === 'ended' ? { status: phase.status, reason: phase.reason } : null
}
