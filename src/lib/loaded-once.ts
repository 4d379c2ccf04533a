/**
 * Loads something with the first call, and keeps it. If that fails, the next call tries again: a process without a free
 * file descriptor, for example, cannot import a module.
 */
export function loadedOnce<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | null = null
  return () => {
    loading ??= load().catch((cause: unknown) => {
      loading = null
      throw cause
    })
    return loading
  }
}
