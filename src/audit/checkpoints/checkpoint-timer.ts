import type { Checkpoint } from '../../api/audit.ts'
import type { Logger } from '../../lib/logger.ts'
import { within } from '../../lib/within.ts'
import type { CheckpointWriter, WriteError } from './checkpoint-writer.ts'

type DebugLogger = Pick<Logger, 'info' | 'warn'> & { readonly debug: Logger['info'] }

/** Pause after the end of a run, so that runs that end together are in one checkpoint. */
const SOON_MS = 1_000
/** The shortest time between two checkpoints of a log, from all its servers. */
const PAUSE_MS = 5_000
/** Checkpoints may take one hundredth of the time, for any number of runs. */
const TIMES_AS_LONG = 100
/** So that servers that share a log do not begin at the same moment. */
const JITTER_MS = 1_000

export type CheckpointTimer = {
  /** Reports that a run has ended: a checkpoint is written soon. */
  runEnded(): void
  /** Writes a last checkpoint, unless that takes longer than `withinMs`. */
  stop(withinMs?: number): Promise<void>
}

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
export function startCheckpoints(
  writer: Pick<CheckpointWriter, 'write'>,
  {
    seconds,
    log,
    written: onWritten = async () => {},
    pauseMs = PAUSE_MS,
    soonMs = SOON_MS,
    jitterMs = JITTER_MS,
  }: TimerOptions,
): CheckpointTimer {
  let underWay: Promise<void> | null = null
  let stopped = false
  let endedSince = false
  let timer: NodeJS.Timeout
  let due = Number.POSITIVE_INFINITY
  let notBefore = 0

  const write = async (pause: number): Promise<void> => {
    endedSince = false
    const began = performance.now()
    const written = await writer.write({ pauseMs: pause })
    const took = performance.now() - began
    if (written.isErr()) logFailure(written.error, log)
    else if (written.value === 'too_soon') endedSince = true
    else if (written.value !== null) {
      const { number, runs, root } = written.value
      log.debug({ number, runs, root }, 'checkpoint written')
      await onWritten(written.value)
    }
    if (written.isErr() || written.value !== null) {
      // Not longer than `seconds`: what took long on a slow disk would otherwise delay the next one for minutes.
      const rest = Math.min(TIMES_AS_LONG * took, seconds * 1000)
      notBefore = performance.now() + Math.max(pauseMs, rest)
    }
  }
  const tick = async (): Promise<void> => {
    await write(pauseMs)
    underWay = null
    if (stopped) return
    due = Number.POSITIVE_INFINITY
    wait(endedSince ? soonMs : seconds * 1000)
  }
  /** Writes after `ms`, or earlier if that is set already, but not too soon after the last time. */
  const wait = (ms: number): void => {
    const at = Math.max(performance.now() + ms + Math.random() * jitterMs, notBefore)
    if (underWay !== null || at >= due) return
    due = at
    clearTimeout(timer)
    timer = setTimeout(() => {
      underWay = tick()
    }, at - performance.now())
  }
  wait(seconds * 1000)
  return {
    runEnded: () => {
      if (endedSince || stopped) return
      endedSince = true
      wait(soonMs)
    },
    stop: async (withinMs = 1_000) => {
      stopped = true
      clearTimeout(timer)
      const last = (underWay ?? Promise.resolve()).then(() => write(0))
      await within(withinMs, last, () => {})
    },
  }
}

function logFailure(error: WriteError, log: DebugLogger): void {
  if (error.type === 'wrong_expected_revision') {
    log.debug({ error }, 'another server has written a checkpoint meanwhile')
  } else {
    log.warn({ error }, 'no checkpoint could be written, trying again later')
  }
}
