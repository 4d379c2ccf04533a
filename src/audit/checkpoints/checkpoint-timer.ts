import type { Checkpoint } from '../../api/audit.ts'
import type { Logger } from '../../lib/logger.ts'
import { within } from '../../lib/within.ts'
import type { CheckpointWriter, WriteError } from './checkpoint-writer.ts'

type DebugLogger = Pick<Logger, 'info' | 'warn'> & { readonly debug: Logger['info'] }

/** Pause after the end of a run, so that runs that end together are in one checkpoint. */
const SOON_MS = 1_000
/** The shortest time between two checkpoints of a log, from all its servers, unless `seconds` is less. */
const PAUSE_MS = 5_000
/** Checkpoints may take one hundredth of the time, for any number of runs. */
const TIMES_AS_LONG = 100
/** So that servers that share a log do not begin at the same moment. */
const JITTER_MS = 1_000

export type TimerOptions = {
  /** The longest time after which a change is in a checkpoint. */
  readonly seconds: number
  readonly log: DebugLogger
  readonly written?: (checkpoint: Checkpoint) => Promise<void>
  readonly pauseMs?: number
  readonly soonMs?: number
  readonly jitterMs?: number
}

/** Writes checkpoints: soon after the end of a run, and every `seconds` if anything has changed. */
export class CheckpointTimer {
  readonly #writer: Pick<CheckpointWriter, 'write'>
  readonly #options: Required<TimerOptions>
  #underWay: Promise<void> | null = null
  #stopped = false
  /** Whether a run has ended that may not be in a checkpoint yet. */
  #endedSince = false
  #timer: NodeJS.Timeout | undefined
  /** Times of `performance.now`: when the timer fires, and the earliest time of the next checkpoint. */
  #due = Number.POSITIVE_INFINITY
  #notBefore = 0

  constructor(writer: Pick<CheckpointWriter, 'write'>, options: TimerOptions) {
    this.#writer = writer
    const most = options.seconds * 1000
    const pace = { soonMs: SOON_MS, pauseMs: Math.min(PAUSE_MS, most), jitterMs: JITTER_MS }
    this.#options = { written: async () => {}, ...pace, ...options }
    this.#wait(this.#everyMs)
  }

  /** Reports that a run has ended: a checkpoint is written soon. */
  runEnded(): void {
    if (this.#endedSince || this.#stopped) return
    this.#endedSince = true
    this.#wait(this.#options.soonMs)
  }

  /** Writes a last checkpoint, unless that takes longer than `withinMs`. */
  async stop(withinMs = 1_000): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    const last = (this.#underWay ?? Promise.resolve()).then(() => this.#write(0))
    await within(withinMs, last, () => {})
  }

  get #everyMs(): number {
    return this.#options.seconds * 1000
  }

  /** Writes after `ms`, or earlier if that is set already, but not too soon after the last time. */
  #wait(ms: number): void {
    const { jitterMs } = this.#options
    const earlier = Math.random() * Math.min(jitterMs, ms / 2)
    const at = Math.max(performance.now() + ms - earlier, this.#notBefore)
    if (this.#underWay !== null || at >= this.#due) return
    this.#due = at
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#underWay = this.#tick()
    }, at - performance.now())
  }

  async #tick(): Promise<void> {
    await this.#write(this.#options.pauseMs)
    this.#underWay = null
    if (this.#stopped) return
    this.#due = Number.POSITIVE_INFINITY
    this.#wait(this.#endedSince ? this.#options.soonMs : this.#everyMs)
  }

  /** Never rejects: what the read model throws, such as an error of the disk, must not end the server. */
  async #write(pauseMs: number): Promise<void> {
    const { log, written: onWritten } = this.#options
    this.#endedSince = false
    const began = performance.now()
    try {
      const written = await this.#writer.write({ pauseMs })
      if (written.isErr() || written.value !== null) this.#rest(performance.now() - began)
      if (written.isErr()) logFailure(written.error, log)
      else if (written.value === 'too_soon') this.#endedSince = true
      else if (written.value !== null) {
        const { number, runs, root } = written.value
        log.debug({ number, runs, root }, 'checkpoint written')
        await onWritten(written.value)
      }
    } catch (cause) {
      log.warn({ err: cause }, NOT_WRITTEN)
    }
  }

  /** @param took how long the last checkpoint took, milliseconds */
  #rest(took: number): void {
    // Not longer than `seconds`: what took long on a slow disk would otherwise delay the next one for minutes.
    const rest = Math.min(TIMES_AS_LONG * took, this.#everyMs)
    this.#notBefore = performance.now() + Math.max(this.#options.pauseMs, rest)
  }
}

const NOT_WRITTEN = 'no checkpoint could be written, trying again later'

function logFailure(error: WriteError, log: DebugLogger): void {
  if (error.type === 'wrong_expected_revision') {
    log.debug({ error }, 'another server has written a checkpoint meanwhile')
  } else {
    log.warn({ error }, NOT_WRITTEN)
  }
}
