import type { Kind } from '../domain/records.ts'
import type { RunState } from '../domain/state.ts'
import { decode } from '../store/codec.ts'
import type { EventStore, Position, RecordedEvent } from '../store/event-store.ts'
import { RUN_STREAM_PREFIX } from '../store/run-log.ts'
import type { Backoff } from './backoff.ts'
import { Presence } from './presence.ts'
import { type Effects, runLoop } from './run-loop.ts'
import { RunSession, type SessionError } from './run-session.ts'
import { Turns } from './turns.ts'

/** Structured log lines, as pino takes them. */
export type Log = {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export type SupervisorDeps = {
  readonly store: EventStore
  readonly effects: Effects
  readonly process: ProcessIdentity
  /**
   * How long a server that shares its store with others must be silent before its runs are taken over,
   * milliseconds; null where the store is this process' alone.
   */
  readonly leaseMs: number | null
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  readonly backoff: Backoff
  /** How many runs may be worked on at once; more are taken up in their order. */
  readonly maxRunsAtWork: number
  readonly log: Log
}

/** This process, as `run_claimed` names it. */
type ProcessIdentity = {
  /** The server, which is one through all its restarts. */
  readonly server: string
  /** Unique to each start; begins with the server and a slash. */
  readonly claimant: string
  readonly pid: number
  readonly host: string
}

/** An unfinished run as of the start. */
type Unfinished = {
  readonly runId: string
  readonly claimant: string | null
  /** Whether it waits for a person. */
  readonly resting: boolean
}

/** Whose run may be taken up, beside one's own: anybody's, nobody's, or that of one claimant (null: of none). */
type From = 'anyone' | 'nobody' | { readonly claimant: string | null }

/** What a `run_end` says, for the log of the server. */
type End = { readonly status: string; readonly reason: string }

type Worker = {
  readonly stop: AbortController
  readonly done: Promise<void>
  again: boolean
  /** Whether it still waits for its turn. */
  waiting: boolean
  /** How the run ended, once the log has told. */
  end: End | null
  /** Null until the run was read. */
  session: RunSession | null
  /** Something was taken out of the run since it was begun to be read. */
  redacted: boolean
}

/**
 * Follows the log and works on its runs. Starting a run and taking one up after a crash are the same
 * path: claim it, fold it, do what comes next.
 */
export class Supervisor {
  readonly #deps: SupervisorDeps
  readonly #workers = new Map<string, Worker>()
  readonly #turns: Turns
  readonly #presence: Presence | null
  readonly #stop = new AbortController()
  #following: Promise<void> = Promise.resolve()

  constructor(deps: SupervisorDeps) {
    this.#deps = deps
    this.#turns = new Turns(deps.maxRunsAtWork)
    this.#presence = deps.leaseMs === null ? null : this.#presenceFor(deps.leaseMs)
  }

  /**
   * Takes up the runs that are unfinished as of the position `after` and that no other server may still
   * be at work on, and follows the log from there.
   */
  start(unfinished: readonly Unfinished[], after: Position | null): void {
    const held: (Unfinished & { readonly claimant: string })[] = []
    for (const run of unfinished) {
      const { runId, claimant } = run
      if (this.#presence === null) this.#takeUp(runId, 'anyone')
      else if (claimant === null || this.#isOfThisServer(claimant))
        this.#takeUp(runId, { claimant })
      else held.push({ ...run, claimant })
    }
    this.#presence?.start(held)
    this.#following = this.#follow(after)
  }

  #presenceFor(leaseMs: number): Presence {
    const { store, log } = this.#deps
    return new Presence({
      store,
      leaseMs,
      claimant: this.#deps.process.claimant,
      atWork: () => this.#workers.size > 0,
      onLeftBehind: (runs) => {
        for (const { runId, claimant } of runs) {
          if (this.#workers.has(runId)) continue
          log.info({ run_id: runId, claimant }, 'nothing is heard of who works on a run')
          this.#takeUp(runId, { claimant })
        }
      },
    })
  }

  /** The process that held it cannot be alive: this one has the server's data folder. */
  #isOfThisServer(claimant: string): boolean {
    return claimant.startsWith(`${this.#deps.process.server}/`)
  }

  /** Lets go of all runs: nothing is recorded, so that the next process goes on where this one was. */
  async stop(): Promise<void> {
    this.#stop.abort()
    for (const worker of this.#workers.values()) worker.stop.abort()
    await Promise.all([this.#following, ...[...this.#workers.values()].map(({ done }) => done)])
    await this.#presence?.stop()
  }

  /** Something was taken out of the run: what is known of it is read again before its next step. */
  forget(runId: string): void {
    const worker = this.#workers.get(runId)
    if (worker === undefined) return
    worker.redacted = true
    worker.session?.forget()
  }

  async #follow(after: Position | null): Promise<void> {
    const { store } = this.#deps
    const { signal } = this.#stop
    for await (const item of store.subscribeAll({ after, prefix: RUN_STREAM_PREFIX, signal })) {
      if (item.type === 'events') for (const event of item.events) this.#notice(event)
    }
  }

  #notice(event: RecordedEvent): void {
    this.#presence?.note(event)
    const runId = event.stream.slice(RUN_STREAM_PREFIX.length)
    switch (event.type as Kind) {
      case 'run_created':
        this.#takeUp(runId, { claimant: null })
        break
      case 'human_check_response':
        this.#takeUp(runId, 'nobody')
        break
      case 'run_claimed':
        this.#noticeClaim(runId, event)
        break
      case 'run_end':
        this.#noticeEnd(runId, event)
        break
    }
  }

  #noticeEnd(runId: string, event: RecordedEvent): void {
    const worker = this.#workers.get(runId)
    if (worker === undefined) return
    const decoded = decode(event)
    if (decoded.isOk() && decoded.value.record.kind === 'run_end') {
      const { status, reason } = decoded.value.record.payload
      worker.end = { status, reason }
    }
    worker.stop.abort()
  }

  /**
   * Lets go of a run that another process has claimed behind all that is known of it here. What is told
   * of while the run is being read takes nothing away: the claim that is made then stands behind it.
   */
  #noticeClaim(runId: string, event: RecordedEvent): void {
    const worker = this.#workers.get(runId)
    if (worker === undefined) return
    const decoded = decode(event)
    if (decoded.isErr() || decoded.value.record.kind !== 'run_claimed') return
    if (decoded.value.record.payload.claimant === this.#deps.process.claimant) return
    const known = worker.session?.state.seq ?? Number.POSITIVE_INFINITY
    if (worker.waiting || event.revision > known) worker.stop.abort()
  }

  #takeUp(runId: string, from: From): void {
    if (this.#stop.signal.aborted) return
    const worker = this.#workers.get(runId)
    if (worker !== undefined) {
      // It may be just about to rest; it looks at the log once more before it does.
      worker.again = true
      return
    }
    const stop = new AbortController()
    const done = this.#awaitTurn(runId, from, stop.signal).finally(() => {
      const again = this.#workers.get(runId)?.again === true
      this.#workers.delete(runId)
      if (again) this.#takeUp(runId, 'nobody')
    })
    this.#workers.set(runId, {
      stop,
      done,
      again: false,
      waiting: true,
      end: null,
      session: null,
      redacted: false,
    })
  }

  async #awaitTurn(runId: string, from: From, signal: AbortSignal): Promise<void> {
    const giveBack = await this.#turns.take(signal)
    if (giveBack === null) return
    try {
      await this.#work(runId, from, signal)
    } finally {
      giveBack()
    }
  }

  async #work(runId: string, from: From, signal: AbortSignal): Promise<void> {
    const { log, effects, process } = this.#deps
    const worker = this.#workers.get(runId)
    if (worker !== undefined) worker.waiting = false
    const session = await RunSession.open(runId, {
      ...this.#deps,
      claimant: process.claimant,
      readOnlyTools: effects.toolbox.readOnly,
      signal,
    })
    if (session.isErr()) return this.#report(runId, session.error)
    if (worker !== undefined) worker.session = session.value
    if (worker?.redacted === true) session.value.forget()
    const { state } = session.value
    const { claimant } = state
    if (claimant !== process.claimant) {
      if (!mayTake(from, claimant)) return
      const claimed = await session.value.record({
        type: 'claim',
        expected: claimant,
        pid: process.pid,
        host: process.host,
      })
      if (claimed.isErr()) return this.#report(runId, claimed.error)
      log.info({ run_id: runId, taken_from: claimant }, 'run taken up')
    }
    const ended = await runLoop(session.value, effects, signal)
    // The log may tell of the end before the loop has seen that its last append was the end.
    const end = worker?.end ?? endOf(session.value.state)
    if (end !== null) log.info({ run_id: runId, ...end }, 'run ended')
    else if (ended.isErr()) this.#report(runId, ended.error)
    else log.info({ run_id: runId }, 'run waits for a person')
  }

  #report(runId: string, error: SessionError): void {
    const { log } = this.#deps
    const fields = { run_id: runId, error }
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
