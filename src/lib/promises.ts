/**
 * What a promise resolves to, or what `late` returns if that takes longer than `ms` milliseconds. What the promise does
 * afterwards is ignored.
 */
export function within<T, L>(ms: number, promise: PromiseLike<T>, late: () => L): Promise<T | L> {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  return Promise.race([promise, over.then(late)]).finally(() => clearTimeout(timer))
}
