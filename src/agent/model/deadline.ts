import { err, ok, type Result } from 'neverthrow'

export type Interruption =
  | { readonly type: 'aborted' }
  | { readonly type: 'timed_out'; readonly ms: number }
  /** Nothing was heard for too long. */
  | { readonly type: 'silent'; readonly ms: number }
  | { readonly type: 'threw'; readonly cause: unknown }

/** Limits in milliseconds. */
export type Deadlines = {
  readonly totalMs: number
  /** How long the work may take until it is heard for the first time. */
  readonly firstMs: number
  /** How long it may be silent after that. */
  readonly silenceMs: number
}

/**
 * Runs `work` until it ends, `signal` aborts, or one of the limits is exceeded, whichever comes first. At an abort or a
 * limit, this returns at once, even if the work takes long to notice that its own signal is aborted.
 * @param work calls `heard` at each sign of life
 */
export function withDeadlines<T>(
  signal: AbortSignal,
  { totalMs, firstMs, silenceMs }: Deadlines,
  work: (signal: AbortSignal, heard: () => void) => Promise<T>,
): Promise<Result<T, Interruption>> {
  if (signal.aborted) return Promise.resolve(err({ type: 'aborted' }))
  return new Promise((resolve) => {
    const controller = new AbortController()
    const settle = (result: Result<T, Interruption>) => {
      clearTimeout(total)
      clearTimeout(silence)
      signal.removeEventListener('abort', onAbort)
      resolve(result)
    }
    const interrupt = (why: Interruption) => {
      settle(err(why))
      controller.abort()
    }
    const onAbort = () => interrupt({ type: 'aborted' })
    const total = setTimeout(() => interrupt({ type: 'timed_out', ms: totalMs }), totalMs)
    const listen = (ms: number) => setTimeout(() => interrupt({ type: 'silent', ms }), ms)
    let silence = listen(firstMs)
    const heard = () => {
      clearTimeout(silence)
      if (!controller.signal.aborted) silence = listen(silenceMs)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    work(controller.signal, heard).then(
      (value) => settle(ok(value)),
      (cause: unknown) => settle(err({ type: 'threw', cause })),
    )
  })
}
