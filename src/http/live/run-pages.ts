import type { Result } from 'neverthrow'
import type { Form, Selection } from '../../api/event-query.ts'
import type { ReadError } from '../../store/event-store.ts'
import { type PageDeps, readTexts } from './page.ts'
import type { PageSize } from './page-size.ts'
import type { Damage, Text } from './text.ts'

/** What one client wants of a run. */
export type Wanted = {
  readonly runId: string
  /** Exclusive; null begins at the end that the direction begins at. */
  readonly after: number | null
  readonly direction: 'forward' | 'backward'
  readonly limit: number
  readonly selection: Selection
  readonly form: Form
}

/**
 * The pages of a run from the store, until there are no more; the next one is read while the caller
 * works on one.
 */
export async function* pagesOf(
  { runId, after, direction, form }: Pick<Wanted, 'runId' | 'after' | 'direction' | 'form'>,
  pageSize: PageSize,
  deps: PageDeps,
): AsyncGenerator<Result<(Text | Damage)[], ReadError>, void, void> {
  const step = direction === 'forward' ? 1 : -1
  const read = (from: number | 'end') => {
    const limit = pageSize.records
    return { limit, page: readTexts(runId, { from, direction, limit }, deps, form) }
  }
  const start = direction === 'forward' ? -1 : null
  const origin = after ?? start
  if (origin !== null && origin + step < 0) return
  let reading = read(origin === null ? 'end' : origin + step)
  for (;;) {
    const page = await reading.page
    if (page.isErr()) {
      yield page
      return
    }
    pageSize.learn(
      page.value.length,
      page.value.reduce((sum, text) => sum + (text.type === 'text' ? text.json.length : 0), 0),
    )
    const last = page.value.at(-1)
    const isLast = last === undefined || page.value.length < reading.limit
    const next = last === undefined ? 0 : last.seq + step
    if (!isLast && next >= 0) reading = read(next)
    yield page
    if (isLast || next < 0) return
  }
}
