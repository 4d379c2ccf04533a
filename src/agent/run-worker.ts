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
  /** Whether the process that made these claims was stopped, and did not crash. */
  readonly wasStopped: (claimant: string) => boolean
}

/** Whose turn it is: of all runs, and of those that were under way in a crash more than once. */
export type TurnsOf = { readonly all: Semaphore; readonly suspects: Semaphore }

/** This process, as `run_claimed` names it. */
type ProcessIdentity = {
  /** The server, which is one through all its restarts. */
  readonly server: string
  /** Unique to each start; begins with the server and a slash. */
  readonly claimant: string
  readonly pid: number
  readonly host: string
}

/** Whose run may be taken up, beside one's own: anybody's, nobody's, or that of one claimant (null: of none). */
export type From = 'anyone' | 'nobody' | { readonly claimant: string | null }

/** What a `run_end` says, for the log of the server. */
type End = { readonly status: string; readonly reason: string }

/** Works on one run, when its turn has come, until that ends, rests, or belongs to somebody else. */
export class RunWorker {
  /** Resolves when it has let go of the run. */
  readonly done: Promise<void>
  /** Whose run to take up behind that, once more: something has happened that it may not have seen. */
  again: From | null = null
  readonly #runId: string
  readonly #from: From
  readonly #deps: WorkerDeps
  readonly #stop = new AbortController()
  /** Whether it still waits for its turn. */
  #waiting = true
  /** How the run ended, once the log has told. */
  #end: End | null = null
  /** Null until the run was read. */
  #session: RunSession | null = null
  /** Something was taken out of the run since it was begun to be read. */
  #redacted = false
  /** Lets the next suspect work, if this run is one. */
  #giveBackSuspects: (() => void) | null = null

  constructor(runId: string, from: From, turns: TurnsOf, deps: WorkerDeps) {
    this.#runId = runId
    this.#from = from
    this.#deps = deps
    this.done = this.#awaitTurn(turns)
  }

  /** Whether it is there to take the run over from this claimant. */
  takesFrom(claimant: string): boolean {
    return typeof this.#from === 'object' && this.#from.claimant === claimant
  }

  /** Lets go of the run, and ends its commands. */
  stop(): void {
    this.#stop.abort()
  }

  /** What is known of the run is read again before its next step. */
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
   * Lets go of a run that another process has claimed behind all that is known of it here. What is told
   * of while the run is being read takes nothing away: the claim that is made then stands behind it.
   */
  noticeClaim(event: RecordedEvent): void {
    const decoded = decode(event)
    if (decoded.isErr() || decoded.value.record.kind !== 'run_claimed') return
    if (decoded.value.record.payload.claimant === this.#deps.process.claimant) return
    const known = this.#session?.state.seq ?? Number.POSITIVE_INFINITY
    if (this.#waiting || event.revision > known) this.stop()
  }

  async #awaitTurn({ all, suspects }: TurnsOf): Promise<void> {
    const giveBack = await all.acquire(this.#stop.signal)
    if (giveBack === null) return
    try {
      await this.#work(suspects)
    } finally {
      this.#clear()
      giveBack()
    }
  }

  /** The check or call that was under way in crashes is over: it was not what has caused them. */
  #clear(): void {
    this.#giveBackSuspects?.()
    this.#giveBackSuspects = null
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
      // One at a time, and claimed only then: so a crash counts against the one that works.
      this.#giveBackSuspects = await suspects.acquire(signal)
      if (this.#giveBackSuspects === null) return
    }
    if (!(await this.#claim(session))) return
    const ended = await runLoop(session, effects, signal)
    // The log may tell of the end before the loop has seen that its last append was the end.
    const end = this.#end ?? endOf(session.state)
    if (end !== null) log.info({ run_id: this.#runId, ...end }, 'run ended')
    else if (ended.isErr()) this.#report(ended.error)
    else log.info({ run_id: this.#runId }, 'run waits for a person')
  }

  /** Whether the run is this process' now. */
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
    else log.info({ run_id: this.#runId, taken_from: claimant }, 'run taken up')
    return claimed.isOk()
  }

  #report(error: SessionError): void {
    const { log } = this.#deps
    const fields = { run_id: this.#runId, error }
    switch (error.type) {
      case 'cancelled':
      case 'run_ended':
      case 'claim_lost':
        log.info(fields, 'run let go')
        break
      case 'damaged_record':
        log.error(fields, 'run cannot be read: it is left as it is')
        break
      default:
        log.error(fields, 'run cannot go on')
    }
  }
}

function endOf({ phase }: RunState): End | null {
  return phase.type === 'ended' ? { status: phase.status, reason: phase.reason } : null
}

/** A claim that somebody else has made meanwhile stands. */
function mayTake(from: From, claimant: string | null): boolean {
  if (from === 'anyone') return true
  return from !== 'nobody' && from.claimant === claimant
}
