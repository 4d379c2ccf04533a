import { err, ok, type Result } from 'neverthrow'

export type Interruption =
  | { readonly type: 'aborted' }
  | { readonly type: 'timed_out' }
  | { readonly type: 'threw'; readonly cause: unknown }

/**
 * Runs `work` until it ends, `signal` aborts or `ms` have passed, whichever comes first. In the last two cases it
 * returns at once, even if the work takes long to notice that its own signal is aborted.
 */
export function withDeadline<T>(
  signal: AbortSignal,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<Result<T, Interruption>> {
  if (signal.aborted) return Promise.resolve(err({ type: 'aborted' }))
  return new Promise((resolve) => {
    const controller = new AbortController()
    const settle = (result: Result<T, Interruption>) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      resolve(result)
    }
    const interrupt = (type: 'aborted' | 'timed_out') => {
      settle(err({ type }))
      controller.abort()
    }
    const onAbort = () => interrupt('aborted')
    const timer = setTimeout(() => interrupt('timed_out'), ms)
    signal.addEventListener('abort', onAbort, { once: true })
    work(controller.signal).then(
      (value) => settle(ok(value)),
      (cause: unknown) => settle(err({ type: 'threw', cause })),
    )
  })
}
