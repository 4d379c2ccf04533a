import type { RecordedEvent } from '../../store/event-store.ts'
import type { SearchHit, SearchProgress, SearchRequest } from './search-file.ts'

/** The progress is null if the file cannot be used: the problem says why. With a progress, it says why the index is rebuilt. */
export type SearchAnswer = {
  readonly progress: SearchProgress | null
  readonly problem: string | null
}

/** What the thread of the index is asked. */
export type SearchOperations = {
  open(path: string): SearchAnswer
  /** Throws the index away. */
  startOver(_: null): SearchAnswer
  add(batch: {
    readonly events: readonly RecordedEvent[]
    readonly progress: Omit<SearchProgress, 'redaction'>
  }): void
  /** The events as they are now. */
  replace(changed: { readonly events: readonly RecordedEvent[]; readonly redaction: number }): void
  /** Whether there is more to remove. */
  removeRun(runId: string): boolean
  find(request: SearchRequest): SearchHit[]
}
