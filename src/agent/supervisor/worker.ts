import { sleep } from '../../lib/backoff.ts'
import type { Semaphore } from '../../lib/semaphore.ts'
import type { EventStore } from '../../store/event-store.ts'
import { runLoop } from '../run/loop.ts'
import { RunSession } from '../run/session.ts'
import { Subagents } from '../subagents/subagents.ts'
import { Claim, type ClaimDeps, type From, type Wait } from './claim.ts'

export type WorkerDeps = ClaimDeps & {
  readonly store: EventStore
  /** Limits how many runs are worked on at once. */
  readonly turns: Semaphore
}

/** How long a run may wait for its turn before that is recorded. */
const QUEUED_AFTER_MS = 1_000

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
  readonly #claim: Claim
  readonly #stop = new AbortController()
  /** Gives its turn to another run; null while it has none. */
  #endTurn: (() => void) | null = null
  /** How many sub-agents it waits for. */
  #waits = 0
  /** Whether it still waits for its first turn. */
  #waiting = true
  /** How the run ended, once the log shows it. */
  #end: End | null = null

  constructor(runId: string, from: From, deps: WorkerDeps) {
    this.#runId = runId
    this.#from = from
    this.#deps = deps
    this.#claim = new Claim(runId, from, deps, this.#stop.signal)
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

  /** After a redaction: makes the worker read its run again before the next step, if that holds what was redacted. */
  forget(runId: string): void {
    this.#claim.forget(runId)
  }

  /** Whether the run has ended, as far as this worker knows. */
  get hasEnded(): boolean {
    return this.#end !== null || this.#claim.session?.state.phase.type === 'ended'
  }

  /** The log shows the end of the run; null if that record is damaged. */
  noticeEnd(end: End | null): void {
    this.#end = end
    this.stop()
  }

  /**
   * Stops if another process has claimed the run after everything that is known of it here. A claim that arrives while
   * the run is being read does not matter: this worker's own claim then comes after it.
   */
  noticeClaim(claimant: string, seq: number): void {
    if (claimant === this.#deps.process.claimant) return
    const known = this.#claim.session?.state.seq ?? Number.POSITIVE_INFINITY
    if (this.#waiting || seq > known) this.stop()
  }

  /** A person has changed the run, or answered its question. */
  noticeChange(): void {
    this.#claim.session?.notice()
  }

  /** While this server cannot work on the run, it leaves its turn to other runs and tries again later. */
  async #takeTurns(): Promise<void> {
    while (await this.#takeTurn()) {
      this.#waiting = false
      let wait: Wait
      try {
        const begun = await this.#claim.begin()
        if (begun instanceof RunSession) return await this.#run(begun)
        wait = begun
      } finally {
        this.#endTurn?.()
      }
      if (!(await wait())) return
    }
  }

  /** Waits for the turn; false if the work is stopped before. A run that waits for long is recorded as queued. */
  async #takeTurn(): Promise<boolean> {
    const { signal } = this.#stop
    const taken = this.#acquireTurn()
    const soon = Promise.race([taken, sleep(QUEUED_AFTER_MS, signal).then(() => null)])
    if ((await soon) !== null || signal.aborted) return taken
    await this.#claim.queueForTurn()
    return taken
  }

  async #acquireTurn(): Promise<boolean> {
    const release = await this.#deps.turns.acquire(this.#stop.signal, this.#runId)
    this.#endTurn = () => {
      release?.()
      this.#endTurn = null
    }
    return release !== null
  }

  /** While the run waits for sub-agents, it is not at work. Each of them may wait for its turn. */
  async #giveTurn<T>(wait: () => Promise<T>): Promise<T> {
    this.#waits += 1
    this.#endTurn?.()
    const result = await wait()
    this.#waits -= 1
    // Until the last of them has ended, the run only records their results.
    if (this.#waits === 0) await this.#acquireTurn()
    return result
  }

  async #run(session: RunSession): Promise<void> {
    const { log, effects } = this.#deps
    const giveTurn = <T>(wait: () => Promise<T>) => this.#giveTurn(wait)
    const subagents = new Subagents(session, { ...this.#deps, rules: effects.subagents, giveTurn })
    const ended = await runLoop(session, effects, subagents, this.#stop.signal)
    // The end may arrive from the log before the loop has seen that its last append was the end.
    const { phase } = session.state
    const end = this.#end ?? (phase.type === 'ended' ? phase : null)
    if (end !== null) {
      const { status, reason } = end
      log.info({ run_id: this.#runId, status, reason }, 'run ended')
    } else if (ended.isErr()) this.#claim.report(ended.error)
    else log.info({ run_id: this.#runId }, 'run waits for a person')
  }
}
