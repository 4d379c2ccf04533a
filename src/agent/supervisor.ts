import type { Kind } from '../domain/records.ts'
import { type RunState, statusOf } from '../domain/state.ts'
import { decode } from '../store/codec.ts'
import type { EventStore, Position, RecordedEvent } from '../store/event-store.ts'
import { RUN_STREAM_PREFIX } from '../store/run-log.ts'
import type { Backoff } from './backoff.ts'
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
  /** This process, as `run_claimed` names it; `claimant` is unique to each start. */
  readonly process: { readonly claimant: string; readonly pid: number; readonly host: string }
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  readonly backoff: Backoff
  /** How many runs may be worked on at once; more are taken up in their order. */
  readonly maxRunsAtWork: number
  readonly log: Log
}

/** Which runs a process takes up: all that are left behind, new ones, and its own after a wait. */
type Occasion = 'start' | 'created' | 'answered'

type Worker = {
  readonly stop: AbortController
  readonly done: Promise<void>
  again: boolean
  /** Whether it still waits for its turn. */
  waiting: boolean
  /** Null until the run was read. */
  session: RunSession | null
}

/**
 * Follows the log and works on its runs. Starting a run and taking one up after a crash are the same
 * path: claim it, fold it, do what comes next.
 */
export class Supervisor {
  readonly #deps: SupervisorDeps
  readonly #workers = new Map<string, Worker>()
  readonly #turns: Turns
  readonly #stop = new AbortController()
  #following: Promise<void> = Promise.resolve()

  constructor(deps: SupervisorDeps) {
    this.#deps = deps
    this.#turns = new Turns(deps.maxRunsAtWork)
  }

  /**
   * Takes up the runs that are unfinished as of the position `after`, and follows the log from there.
   */
  start(unfinished: readonly string[], after: Position | null): void {
    for (const runId of unfinished) this.#takeUp(runId, 'start')
    this.#following = this.#follow(after)
  }

  /** Lets go of all runs: nothing is recorded, so that the next process goes on where this one was. */
  async stop(): Promise<void> {
    this.#stop.abort()
    for (const worker of this.#workers.values()) worker.stop.abort()
    await Promise.all([this.#following, ...[...this.#workers.values()].map(({ done }) => done)])
  }

  async #follow(after: Position | null): Promise<void> {
    const { store } = this.#deps
    const { signal } = this.#stop
    for await (const item of store.subscribeAll({ after, prefix: RUN_STREAM_PREFIX, signal })) {
      if (item.type === 'events') for (const event of item.events) this.#notice(event)
    }
  }

  #notice(event: RecordedEvent): void {
    const runId = event.stream.slice(RUN_STREAM_PREFIX.length)
    switch (event.type as Kind) {
      case 'run_created':
        this.#takeUp(runId, 'created')
        break
      case 'human_check_response':
        this.#takeUp(runId, 'answered')
        break
      case 'run_claimed':
        this.#noticeClaim(runId, event)
        break
      case 'run_end':
        this.#workers.get(runId)?.stop.abort()
        break
    }
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

  #takeUp(runId: string, occasion: Occasion): void {
    if (this.#stop.signal.aborted) return
    const worker = this.#workers.get(runId)
    if (worker !== undefined) {
      // It may be just about to rest; it looks at the log once more before it does.
      worker.again = true
      return
    }
    const stop = new AbortController()
    const done = this.#awaitTurn(runId, occasion, stop.signal).finally(() => {
      const again = this.#workers.get(runId)?.again === true
      this.#workers.delete(runId)
      if (again) this.#takeUp(runId, 'answered')
    })
    this.#workers.set(runId, { stop, done, again: false, waiting: true, session: null })
  }

  async #awaitTurn(runId: string, occasion: Occasion, signal: AbortSignal): Promise<void> {
    const giveBack = await this.#turns.take(signal)
    if (giveBack === null) return
    try {
      await this.#work(runId, occasion, signal)
    } finally {
      giveBack()
    }
  }

  async #work(runId: string, occasion: Occasion, signal: AbortSignal): Promise<void> {
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
    const { state } = session.value
    if (!isOurs(state, occasion, process.claimant)) return
    if (state.claimant !== process.claimant) {
      const claimed = await session.value.record({
        type: 'claim',
        expected: state.claimant,
        pid: process.pid,
        host: process.host,
      })
      if (claimed.isErr()) return this.#report(runId, claimed.error)
      log.info({ run_id: runId, occasion }, 'run taken up')
    }
    const ended = await runLoop(session.value, effects, signal)
    if (ended.isErr()) return this.#report(runId, ended.error)
    log.info({ run_id: runId, status: statusOf(session.value.state) }, `run ${ended.value}`)
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

/** A live claim of another process stands; what is left from before this process started does not. */
function isOurs(state: RunState, occasion: Occasion, claimant: string): boolean {
  switch (occasion) {
    case 'start':
      return true
    case 'created':
      return state.claimant === null || state.claimant === claimant
    case 'answered':
      return state.claimant === claimant
  }
}
