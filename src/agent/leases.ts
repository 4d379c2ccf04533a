import type { Kind } from '../domain/records.ts'
import { decode } from '../log/codec.ts'
import { runIdOf } from '../log/run-log.ts'
import type { RecordedEvent } from '../store/event-store.ts'

/** A run that nobody seems to work on, and who worked on it last. */
export type LeftBehind = { readonly runId: string; readonly claimant: string }

type Held = { readonly claimant: string; readonly resting: boolean }

/** What people write: it tells nothing of the process that works on the run. */
const BY_PEOPLE: ReadonlySet<string> = new Set<Kind>([
  'run_created',
  'run_config_changed',
  'human_check_response',
])

/**
 * Who holds which unfinished run, and when each of them was last heard of. Every record that a process
 * writes is a sign of life and renews its lease on all its runs. A run that waits for a person needs
 * nobody, so it is never left behind. Times are milliseconds of a clock that only goes forward.
 */
export class Leases {
  readonly #leaseMs: number
  readonly #runs = new Map<string, Held>()
  readonly #heard = new Map<string, number>()
  /** A claimant is one process, so who has left never comes back. */
  readonly #gone = new Set<string>()

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs
  }

  /** A run whose records are not going to be shown. */
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
      // Who rested on it need not have been heard of; it has a whole lease to take the answer up.
      this.heard(claimant, now)
    }
    if (!BY_PEOPLE.has(type)) this.heard(claimant, now)
  }

  heard(claimant: string, now: number): void {
    this.#heard.set(claimant, now)
  }

  /** The claimant says that it is gone; returns the runs that it leaves behind. */
  left(claimant: string): LeftBehind[] {
    this.#gone.add(claimant)
    return [...this.#runs].flatMap(([runId, held]) =>
      held.claimant === claimant && !held.resting ? [{ runId, claimant }] : [],
    )
  }

  hasLeft(claimant: string): boolean {
    return this.#gone.has(claimant)
  }

  /** The run, if who holds it has said before that it is gone. */
  leftBefore(runId: string): LeftBehind[] {
    const held = this.#runs.get(runId)
    if (held === undefined || held.resting || !this.#gone.has(held.claimant)) return []
    return [{ runId, claimant: held.claimant }]
  }

  /** Nobody could be heard for a while: all have a whole lease again. */
  renewAll(now: number): void {
    for (const { claimant } of this.#runs.values()) this.heard(claimant, now)
  }

  /** Whether the claimant was heard of within this time. */
  isFresh(claimant: string, withinMs: number, now: number): boolean {
    if (this.#gone.has(claimant)) return false
    return now - (this.#heard.get(claimant) ?? Number.NEGATIVE_INFINITY) < withinMs
  }

  /** The runs of others whose lease is over. */
  expired(self: string, now: number): LeftBehind[] {
    const expired: LeftBehind[] = []
    for (const [runId, { claimant, resting }] of this.#runs) {
      if (resting || claimant === self || this.isFresh(claimant, this.#leaseMs, now)) continue
      expired.push({ runId, claimant })
    }
    return expired
  }
}
