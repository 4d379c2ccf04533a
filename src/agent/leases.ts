import type { Kind } from '../domain/records.ts'
import { decode } from '../log/codec.ts'
import { runIdOf } from '../log/run-log.ts'
import type { RecordedEvent } from '../store/event-store.ts'

/** A run that no process seems to work on, and the process that worked on it last. */
export type OrphanedRun = { readonly runId: string; readonly claimant: string }

type Held = { readonly claimant: string; readonly resting: boolean }

/** Records of people. They show nothing about the process that works on the run. */
const BY_PEOPLE: ReadonlySet<string> = new Set<Kind>([
  'run_created',
  'run_config_changed',
  'human_check_response',
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

  /** A run that another process holds, as known without its records. */
  hold(runId: string, claimant: string, resting: boolean, now: number): void {
    this.#runs.set(runId, { claimant, resting })
    this.heard(claimant, now)
  }

  /** A record of a run, in the order of the log. */
  note(event: RecordedEvent, now: number): void {
    const runId = runIdOf(event.stream)
    const held = this.#runs.get(runId)
    if (event.type === 'run_end') this.#runs.delete(runId)
    if (event.type === 'run_claimed') this.#claimed(runId, event, held?.resting ?? false, now)
    else if (held !== undefined) this.#renew(runId, held, event.type, now)
  }

  #claimed(runId: string, event: RecordedEvent, resting: boolean, now: number): void {
    const decoded = decode(event)
    if (decoded.isErr() || decoded.value.record.kind !== 'run_claimed') return
    this.hold(runId, decoded.value.record.payload.claimant, resting, now)
  }

  #renew(runId: string, { claimant }: Held, type: string, now: number): void {
    if (type === 'human_check_required') this.#runs.set(runId, { claimant, resting: true })
    if (type === 'human_check_response') {
      this.#runs.set(runId, { claimant, resting: false })
      // The holder may have been silent while it waited. It has a whole lease to continue after the answer.
      this.heard(claimant, now)
    }
    if (!BY_PEOPLE.has(type)) this.heard(claimant, now)
  }

  heard(claimant: string, now: number): void {
    this.#heard.set(claimant, now)
  }

  /** The claimant has announced that it leaves; returns the runs that this orphans. */
  left(claimant: string): OrphanedRun[] {
    this.#gone.add(claimant)
    return [...this.#runs].flatMap(([runId, held]) =>
      held.claimant === claimant && !held.resting ? [{ runId, claimant }] : [],
    )
  }

  hasLeft(claimant: string): boolean {
    return this.#gone.has(claimant)
  }

  /** The run, if its holder announced earlier that it leaves. */
  leftBefore(runId: string): OrphanedRun[] {
    const held = this.#runs.get(runId)
    if (held === undefined || held.resting || !this.#gone.has(held.claimant)) return []
    return [{ runId, claimant: held.claimant }]
  }

  /** Renews all leases after a time in which no record could arrive. */
  renewAll(now: number): void {
    for (const { claimant } of this.#runs.values()) this.heard(claimant, now)
  }

  /** Whether the claimant showed within this time that it is alive. */
  isFresh(claimant: string, withinMs: number, now: number): boolean {
    if (this.#gone.has(claimant)) return false
    return now - (this.#heard.get(claimant) ?? Number.NEGATIVE_INFINITY) < withinMs
  }

  /** The runs of other processes whose lease has expired. */
  expired(self: string, now: number): OrphanedRun[] {
    const expired: OrphanedRun[] = []
    for (const [runId, { claimant, resting }] of this.#runs) {
      if (resting || claimant === self || this.isFresh(claimant, this.#leaseMs, now)) continue
      expired.push({ runId, claimant })
    }
    return expired
  }
}
