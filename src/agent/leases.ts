import type { Kind } from '../domain/records.ts'
import { decode } from '../log/codec.ts'
import { runIdOf } from '../log/run-log.ts'
import type { RecordedEvent } from '../store/event-store.ts'

/** A run that no process seems to work on, its pool, and the process that worked on it last; null if none has. */
export type OrphanedRun = {
  readonly runId: string
  readonly claimant: string | null
  readonly pool: string | null
}

type Held = Omit<OrphanedRun, 'runId'> & { readonly resting: boolean }

/** Records of people and of other processes. They show nothing about the process that works on the run. */
const BY_OTHERS: ReadonlySet<string> = new Set<Kind>([
  'run_created',
  'run_queued',
  'run_config_changed',
  'user_message',
  'human_check_response',
  'approval_response',
])

/**
 * Which process holds which unfinished run, and when each process last showed that it is alive. Every record of a
 * process renews its leases on all its runs. A run that waits for a person needs no process, so it is never orphaned.
 * Times are milliseconds of a monotonic clock.
 */
export class Leases {
  readonly #leaseMs: number
  readonly #runs = new Map<string, Held>()
  readonly #heard = new Map<string, number>()
  /** A claimant is one process, so one that left never comes back. */
  readonly #gone = new Set<string>()

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs
  }

  /** A run that another process holds, or that none has claimed yet, as known without its records. */
  hold({ runId, ...held }: OrphanedRun & Held, now: number): void {
    this.#runs.set(runId, held)
    this.heard(held.claimant ?? runId, now)
  }

  /** A record of a run, in the order of the log. */
  note(event: RecordedEvent, now: number): void {
    const runId = runIdOf(event.stream)
    const held = this.#runs.get(runId)
    if (event.type === 'run_end') this.#forget(runId)
    if (event.type === 'run_created') this.#created(runId, event, now)
    else if (event.type === 'run_claimed') this.#claimed(runId, event, now)
    else if (held !== undefined) this.#renew(runId, held, event.type, now)
  }

  #created(runId: string, event: RecordedEvent, now: number): void {
    const decoded = decode(event)
    if (decoded.isErr() || decoded.value.record.kind !== 'run_created') return
    const { pool = null } = decoded.value.record.payload
    this.hold({ runId, claimant: null, pool, resting: false }, now)
  }

  #claimed(runId: string, event: RecordedEvent, now: number): void {
    const decoded = decode(event)
    if (decoded.isErr() || decoded.value.record.kind !== 'run_claimed') return
    const { claimant } = decoded.value.record.payload
    const { resting = false, pool = null } = this.#runs.get(runId) ?? {}
    this.#heard.delete(runId)
    this.hold({ runId, claimant, pool, resting }, now)
  }

  #forget(runId: string): void {
    this.#runs.delete(runId)
    this.#heard.delete(runId)
  }

  #renew(runId: string, held: Held, type: string, now: number): void {
    const { claimant } = held
    if (claimant === null) return
    if (type === 'human_check_required' || type === 'approval_required') {
      this.#runs.set(runId, { ...held, resting: true })
    }
    if (type === 'human_check_response' || type === 'approval_response') {
      this.#runs.set(runId, { ...held, resting: false })
      // The holder may have been silent while it waited. It has a whole lease to continue after the answer.
      this.heard(claimant, now)
    }
    if (!BY_OTHERS.has(type)) this.heard(claimant, now)
  }

  heard(claimant: string, now: number): void {
    this.#heard.set(claimant, now)
  }

  /** The claimant has announced that it leaves; returns the runs that this orphans. */
  left(claimant: string): OrphanedRun[] {
    this.#gone.add(claimant)
    return [...this.#runs].flatMap(([runId, held]) =>
      held.claimant === claimant && !held.resting ? [orphaned(runId, held)] : [],
    )
  }

  hasLeft(claimant: string): boolean {
    return this.#gone.has(claimant)
  }

  /** The run, if its holder announced earlier that it leaves. */
  leftBefore(runId: string): OrphanedRun[] {
    const held = this.#runs.get(runId)
    if (held === undefined || held.resting || !this.#gone.has(held.claimant ?? runId)) return []
    return [orphaned(runId, held)]
  }

  /** Renews all leases after a time in which no record could arrive. */
  renewAll(now: number): void {
    for (const [runId, { claimant }] of this.#runs) this.heard(claimant ?? runId, now)
  }

  /** Whether the claimant showed within this time that it is alive. */
  isFresh(claimant: string, withinMs: number, now: number): boolean {
    if (this.#gone.has(claimant)) return false
    return now - (this.#heard.get(claimant) ?? Number.NEGATIVE_INFINITY) < withinMs
  }

  /** The runs of other processes whose lease has expired, and those that no process has claimed for as long. */
  expired(self: string, now: number): OrphanedRun[] {
    const expired: OrphanedRun[] = []
    for (const [runId, held] of this.#runs) {
      const { claimant, resting } = held
      if (resting || claimant === self) continue
      if (this.isFresh(claimant ?? runId, this.#leaseMs, now)) continue
      expired.push(orphaned(runId, held))
    }
    return expired
  }
}

const orphaned = (runId: string, { claimant, pool }: Held): OrphanedRun => ({
  runId,
  claimant,
  pool,
})
