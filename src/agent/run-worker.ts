import type { RunState } from '../domain/state.ts'
import type { PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import type { Semaphore } from '../lib/semaphore.ts'
import { decode } from '../log/codec.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import { type Effects, runLoop } from './run-loop.ts'
import { RunSession, type SessionError } from './run-session.ts'

export type WorkerDeps = {
  readonly store: EventStore
  readonly effects: Effects
  readonly process: ProcessIdentity
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  readonly retryMs: PauseBoundsMs
  readonly log: Logger
  /** Whether the process with this claimant was stopped, and did not crash. */
  readonly wasStopped: (claimant: string) => boolean
}

/**
 * Limits how many runs are worked on at once: of all runs, and of those that were interrupted by more than one crash.
 */
export type Turns = { readonly all: Semaphore; readonly suspects: Semaphore }

/** This process, as `run_claimed` names it. */
type ProcessIdentity = {
  /** The server, the same through all its restarts. */
  readonly server: string
  /** Unique to each start; begins with the server and a slash. */
  readonly claimant: string
  readonly pid: number
  readonly host: string
}

/** Whose run may be claimed, beside the own: any process's, none, or that of one claimant (null: of no claimant). */
export type From = 'anyone' | 'nobody' | { readonly claimant: string | null }

/** The content of a `run_end`, for the logger. */
type End = { readonly status: string; readonly reason: string }

/** Works on one run when its turn comes, until the run ends, waits for a person, or belongs to another process. */
export class RunWorker {
  /** Resolves when the work on the run is over. */
  readonly done: Promise<void>
  /**
   * Set if something happened that this worker may not have seen: the run must then be taken up once more, from this.
   */
  again: From | null = null
  readonly #runId: string
  readonly #from: From
  readonly #deps: WorkerDeps
  readonly #stop = new AbortController()
  /** Whether it still waits for its turn. */
  #waiting = true
  /** How the run ended, once the log shows it. */
  #end: End | null = null
  /** Null until the run is read. */
  #session: RunSession | null = null
  /** A redaction changed the run after it was begun to be read. */
  #redacted = false
  /** Gives its turn to the next suspect, if this run is one. */
  #releaseSuspects: (() => void) | null = null

  constructor(runId: string, from: From, turns: Turns, deps: WorkerDeps) {
    this.#runId = runId
    this.#from = from
    this.#deps = deps
    this.done = this.#awaitTurn(turns)
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

  async #awaitTurn({ all, suspects }: Turns): Promise<void> {
    const release = await all.acquire(this.#stop.signal)
    if (release === null) return
    try {
      await this.#work(suspects)
    } finally {
      this.#clear()
      release()
    }
  }

  /** The check or call that was interrupted by crashes is over, so it was not their cause. */
  #clear(): void {
    this.#releaseSuspects?.()
    this.#releaseSuspects = null
  }

  async #work(suspects: Semaphore): Promise<void> {
    const { log, effects, process } = this.#deps
    const { signal } = this.#stop
    this.#waiting = false
    const opened = await RunSession.open(this.#runId, {
      ...this.#deps,
      claimant: process.claimant,
      readOnlyTools: effects.toolbox.readOnly,
      signal,
      onAppended: ({ crashes }) => {
        if (crashes === 0) this.#clear()
      },
    })
    if (opened.isErr()) return this.#report(opened.error)
    const session = opened.value
    this.#session = session
    if (this.#redacted) session.forget()
    if (session.state.crashes > 0) {
      // Suspects are claimed and worked on one at a time, so a crash counts against only one of them.
      this.#releaseSuspects = await suspects.acquire(signal)
      if (this.#releaseSuspects === null) return
    }
    if (!(await this.#claim(session))) return
    const ended = await runLoop(session, effects, signal)
    // The end may arrive from the log before the loop has seen that its last append was the end.
    const end = this.#end ?? endOf(session.state)
    if (end !== null) {
      log.info({ run_id: this.#runId, ...end }, 'run ended')
      await effects.forgetRun?.(this.#runId)
    } else if (ended.isErr()) this.#report(ended.error)
    else log.info({ run_id: this.#runId }, 'run waits for a person')
  }

  /** Whether this process holds the run now. */
  async #claim(session: RunSession): Promise<boolean> {
    const { log, process, wasStopped } = this.#deps
    const { claimant } = session.state
    if (claimant === process.claimant) return true
    if (!mayTake(this.#from, claimant)) return false
    const { pid, host } = process
    const afterCrash = claimant !== null && !wasStopped(claimant)
    const claim = { type: 'claim', expected: claimant, pid, host, afterCrash } as const
    const claimed = await session.record(claim)
    if (claimed.isErr()) this.#report(claimed.error)
    else log.info({ run_id: this.#runId, taken_from: claimant }, 'run claimed')
    return claimed.isOk()
  }

  #report(error: SessionError): void {
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
  }
}

function endOf({ phase }: RunState): End | null {
  return phase.type === 'ended' ? { status: phase.status, reason: phase.reason } : null
}

/** If another process has claimed the run meanwhile, that claim wins. */
function mayTake(from: From, claimant: string | null): boolean {
  if (from === 'anyone') return true
  return from !== 'nobody' && from.claimant === claimant
}
