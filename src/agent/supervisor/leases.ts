import { isOpenTo } from '../../carry/folder-locks.ts'
import type { Kind, RunRecord } from '../../domain/records.ts'

/** A run, its pool, and the process that worked on it last; null if none has. */
export type HeldRun = {
  readonly runId: string
  readonly claimant: string | null
  readonly pool: string | null
  /** Whether it waits for a person. */
  readonly resting: boolean
}

/** After these, a run needs no process until a person has answered. */
const RESTS: ReadonlySet<string> = new Set<Kind>([
  'human_check_required',
  'approval_required',
  'run_paused',
])

/** The answers of people, after which it needs one again. */
const ANSWERS: ReadonlySet<string> = new Set<Kind>([
  'human_check_response',
  'approval_response',
  'run_resumed',
])

/** Whether a run that waited for a person continues after a record of this kind. */
export const isAnswer = (kind: string): boolean => ANSWERS.has(kind)

/** Records of people and of other processes. They show nothing about the process that works on the run. */
const BY_OTHERS: ReadonlySet<string> = new Set([
  ...(['run_queued', 'run_config_changed', 'user_message'] satisfies Kind[]),
  ...ANSWERS,
])

/**
 * Which process holds which unfinished run, and when each process last showed that it is alive. Every record of a
 * process renews its leases on all its runs. A run that waits for a person needs no process, so its lease never ends.
 * Times are milliseconds of a monotonic clock.
 */
export class Leases {
  readonly #leaseMs: number
  readonly #pool: string | null
  readonly #runs = new Map<string, HeldRun>()
  readonly #heard = new Map<string, number>()
  /** A claimant is one process, so one that left never comes back. */
  readonly #gone = new Set<string>()

  /** @param pool that of this server; null if it may work on all runs */
  constructor(leaseMs: number, pool: string | null) {
    this.#leaseMs = leaseMs
    this.#pool = pool
  }

  /** A run that another process holds, or that none has claimed yet, as known without its records. */
  hold(run: HeldRun, now: number): void {
    this.#runs.set(run.runId, run)
    this.heard(run.claimant ?? run.runId, now)
  }

  /**
   * A record of a run, in the order of the log.
   * @param content null unless it is about the beginning, a claim or the end of the run
   */
  note(runId: string, kind: string, content: RunRecord | null, now: number): void {
    const held = this.#runs.get(runId)
    if (kind === 'run_end') {
      this.#runs.delete(runId)
      this.#heard.delete(runId)
    } else if (content?.kind === 'run_created') {
      this.hold({ runId, claimant: null, pool: content.payload.pool ?? null, resting: false }, now)
    } else if (content?.kind === 'run_claimed') {
      const { claimant } = content.payload
      this.#heard.delete(runId)
      this.hold({ runId, pool: null, resting: false, ...held, claimant }, now)
    } else if (held !== undefined) this.#renew(held, kind, now)
  }

  #renew(held: HeldRun, kind: string, now: number): void {
    const { runId, claimant } = held
    if (claimant === null) return
    if (RESTS.has(kind)) this.#runs.set(runId, { ...held, resting: true })
    if (ANSWERS.has(kind)) {
      // The holder may have been silent while it waited. It has a whole lease to continue after the answer.
      this.hold({ ...held, resting: false }, now)
    }
    if (!BY_OTHERS.has(kind)) this.heard(claimant, now)
  }

  heard(claimant: string, now: number): void {
    this.#heard.set(claimant, now)
  }

  /** The claimant has announced that it leaves. */
  left(claimant: string): void {
    this.#gone.add(claimant)
  }

  hasLeft(claimant: string): boolean {
    return this.#gone.has(claimant)
  }

  /** Renews all leases after a time in which no record could arrive. */
  renewAll(now: number): void {
    for (const { runId, claimant } of this.#runs.values()) this.heard(claimant ?? runId, now)
  }

  /** Whether the claimant showed within this time that it is alive. */
  isFresh(claimant: string, withinMs: number, now: number): boolean {
    return now - (this.#heard.get(claimant) ?? Number.NEGATIVE_INFINITY) < withinMs
  }

  /** The runs that this server may take over at once, because their holders have announced that they leave. */
  abandoned(): HeldRun[] {
    return this.#ofPool().filter(({ claimant }) => claimant !== null && this.hasLeft(claimant))
  }

  /** The runs that this server may take over, because their lease has expired or their holders have left. */
  orphaned(self: string, now: number): HeldRun[] {
    const isOver = (claimant: string): boolean =>
      this.hasLeft(claimant) || !this.isFresh(claimant, this.#leaseMs, now)
    return this.#ofPool().filter(
      ({ claimant }) => claimant !== null && claimant !== self && isOver(claimant),
    )
  }

  /** The runs of other pools that no server of theirs has taken up within two leases. */
  deserted(now: number): HeldRun[] {
    return [...this.#runs.values()].filter(({ runId, claimant, pool, resting }) => {
      if (resting || isOpenTo(this.#pool, pool)) return false
      return !this.isFresh(claimant ?? runId, 2 * this.#leaseMs, now)
    })
  }

  /** The runs that this server may work on and that need a process. */
  #ofPool(): HeldRun[] {
    return [...this.#runs.values()].filter(
      ({ pool, resting }) => !resting && isOpenTo(this.#pool, pool),
    )
  }
}
