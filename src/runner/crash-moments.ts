/**
 * Moments of a command at which a test lets the runner die or stop. `after spawn`: nobody knows of its process yet.
 * `before its end`: nothing of it lives, and its result is not reported.
 */
export const CRASH_MOMENTS = [
  'before spawn',
  'after spawn',
  'during output',
  'while stopping',
  'before its end',
] as const
export type CrashMoment = (typeof CRASH_MOMENTS)[number]

/** What a test does to the runner. */
export const CRASH_SIGNALS = { killed: 'SIGKILL', stopped: 'SIGSTOP' } as const
export type RunnerCrash = {
  readonly moment: CrashMoment
  readonly how: keyof typeof CRASH_SIGNALS
}

let armed: RunnerCrash | null = null

/** Lets this process die or stop when it reaches the moment next. */
export function armCrash(crash: RunnerCrash): void {
  armed = crash
}

/** Called at each moment. Does nothing without a test. */
export function reach(moment: CrashMoment): void {
  if (armed?.moment !== moment) return
  const signal = CRASH_SIGNALS[armed.how]
  armed = null
  process.kill(process.pid, signal)
}
