/** Makes the next item while the caller works on one. If it cannot be made, all items before it come first. */
export async function* oneAhead<T>(items: AsyncGenerator<T>): AsyncGenerator<T> {
  const nextItem = (): Promise<IteratorResult<T>> => {
    const next = items.next()
    // The caller may leave before it gets to the error.
    next.catch(() => {})
    return next
  }
  for (let next = nextItem(); ; ) {
    const { done, value } = await next
    if (done) return
    next = nextItem()
    yield value
  }
}
