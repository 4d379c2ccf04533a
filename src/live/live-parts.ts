import type { Mask } from '../domain/mask/mask.ts'
import { Attempt, type AttemptOf } from './attempt.ts'

export type PartsListener = {
  /** The run that it observes; null for all. */
  readonly runId: string | null
  /** Something may be new. Must not throw. */
  onParts(): void
}

/** Observers get what is new at most this often, milliseconds. */
const PACE_MS = 40
/** After delivering parts for some time, this process does other work for this many times as long: records come first. */
const REST = 10
const MAX_PAUSE_MS = 500

/**
 * What runs write before it is recorded: the parts of replies and of the output of commands. They are in the memory of
 * the process that works on the run and nowhere else, so only its observers get them. An observer reads from its own
 * place in each part: one that joins late gets a part so far at once, and one that is slow gets fewer and larger pieces.
 */
export class LiveParts {
  readonly #mask: Mask
  readonly #underWay = new Map<string, Set<Attempt>>()
  readonly #listeners = new Map<string | null, Set<PartsListener>>()
  readonly #changed = new Set<string>()
  #begun = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  /** A time of `performance.now`: observers get nothing before it. */
  #notBefore = 0

  constructor(mask: Mask) {
    this.#mask = mask
  }

  /** How many attempts have begun. Later ones have higher numbers. */
  get begun(): number {
    return this.#begun
  }

  /** Begins an attempt. The caller must end it. */
  begin(of: AttemptOf): Attempt {
    this.#begun += 1
    const attempt: Attempt = new Attempt(of, this.#begun, {
      mask: this.#mask,
      onChange: (isFirst) => {
        if (attempt.outcome !== null) this.#remove(attempt)
        this.#change(of.runId, isFirst)
      },
    })
    const ofRun = this.#underWay.get(of.runId) ?? new Set()
    this.#underWay.set(of.runId, ofRun.add(attempt))
    return attempt
  }

  /** The attempts under way, of one run or of all (null). */
  *underWay(runId: string | null): Generator<Attempt> {
    if (runId !== null) yield* this.#underWay.get(runId) ?? []
    else for (const attempts of this.#underWay.values()) yield* attempts
  }

  /** Withdraws what is under way of a run, because a text of the run was redacted that may be in it. */
  forget(runId: string): void {
    for (const attempt of [...this.underWay(runId)]) attempt.end('withdrawn')
  }

  join(listener: PartsListener): void {
    const { runId } = listener
    const others = this.#listeners.get(runId) ?? new Set()
    this.#listeners.set(runId, others.add(listener))
  }

  leave(listener: PartsListener): void {
    const { runId } = listener
    const others = this.#listeners.get(runId)
    others?.delete(listener)
    if (others?.size === 0) this.#listeners.delete(runId)
  }

  #remove(attempt: Attempt): void {
    const { runId } = attempt.of
    const ofRun = this.#underWay.get(runId)
    ofRun?.delete(attempt)
    if (ofRun?.size === 0) this.#underWay.delete(runId)
  }

  /** @param isUrgent the first part of an attempt does not wait */
  #change(runId: string, isUrgent: boolean): void {
    if (!this.#listeners.has(runId) && !this.#listeners.has(null)) return
    this.#changed.add(runId)
    if (this.#timer !== null && !isUrgent) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    const pauseMs = isUrgent ? 0 : Math.max(0, this.#notBefore - performance.now())
    this.#timer = setTimeout(() => this.#deliver(), pauseMs).unref()
  }

  #deliver(): void {
    this.#timer = null
    const began = performance.now()
    for (const runId of this.#changed) {
      for (const listener of this.#listeners.get(runId) ?? []) listener.onParts()
    }
    this.#changed.clear()
    for (const listener of this.#listeners.get(null) ?? []) listener.onParts()
    const now = performance.now()
    this.#notBefore = now + Math.min(MAX_PAUSE_MS, Math.max(PACE_MS, REST * (now - began)))
  }
}
