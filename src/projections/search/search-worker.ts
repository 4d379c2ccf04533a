import { tokensOf } from '../../domain/search-query.ts'
import { isDamage, isOfOthers, removeDisposable } from '../../lib/disposable-file.ts'
import { messageOf } from '../../lib/message-of.ts'
import { answerQuestions } from '../../lib/thread.ts'
import { decode } from '../../log/codec.ts'
import { runIdOf } from '../../log/run-log.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import {
  SearchFile,
  type SearchHit,
  type SearchProgress,
  type SearchRequest,
  type SearchRow,
} from './search-file.ts'
import { SEARCHED_KINDS, searchedText } from './searched-text.ts'

/** The thread of the index, so that neither its work nor a search delays anything else. */

/** The progress is null if the file cannot be used: the problem says why. With a progress, it says why the index is rebuilt. */
export type SearchAnswer = {
  readonly progress: SearchProgress | null
  readonly problem: string | null
}

/** What the thread of the index is asked. */
export type SearchOperations = {
  open(path: string): SearchAnswer
  /** Throws the index away, so that nothing of it is left, and begins with an empty one. */
  startOver(redaction: number): SearchAnswer
  add(batch: {
    readonly events: readonly RecordedEvent[]
    readonly progress: Omit<SearchProgress, 'redaction'>
  }): void
  hasAny(runIds: readonly string[]): boolean
  find(request: SearchRequest): SearchHit[]
}

let opened: { readonly path: string; readonly file: SearchFile } | null = null

function open(path: string): SearchAnswer {
  try {
    try {
      opened = { path, file: new SearchFile(path) }
      return { progress: opened.file.progress, problem: null }
    } catch (cause) {
      if (isOfOthers(cause)) throw cause
      removeDisposable(path)
      opened = { path, file: new SearchFile(path) }
      return { progress: opened.file.progress, problem: messageOf(cause) }
    }
  } catch (cause) {
    return { progress: null, problem: messageOf(cause) }
  }
}

/** The index can always be rebuilt, so a file that turns out to be damaged is removed. @throws then */
function attempt<T>(work: (file: SearchFile) => T): T {
  if (opened === null) throw new Error('the file is not open')
  try {
    return work(opened.file)
  } catch (cause) {
    opened.file.close()
    if (isDamage(cause)) removeDisposable(opened.path)
    throw cause
  }
}

const SEARCHED: ReadonlySet<string> = new Set(SEARCHED_KINDS)

/** Of records that cannot be read, nothing is found. */
function rowsOf(events: readonly RecordedEvent[]): SearchRow[] {
  return events.flatMap((event) => {
    const record = SEARCHED.has(event.type) ? decode(event).unwrapOr(null)?.record : undefined
    if (record === undefined) return []
    const words = tokensOf(searchedText(record)).map(({ word }) => word)
    const { kind, ts } = record
    return [{ runId: runIdOf(event.stream), seq: event.revision, kind, ts, words: words.join(' ') }]
  })
}

const operations: SearchOperations = {
  open,
  startOver: (redaction) => {
    const path = opened?.path ?? ''
    opened?.file.close()
    removeDisposable(path)
    const answer = open(path)
    if (answer.progress === null) return answer
    opened?.file.begin(redaction)
    return { ...answer, progress: { ...answer.progress, redaction } }
  },
  add: ({ events, progress }) => attempt((file) => file.add(rowsOf(events), progress)),
  hasAny: (runIds) => attempt((file) => file.hasAny(runIds)),
  find: (request) => attempt((file) => file.find(request)),
}

answerQuestions(operations, () => opened?.file.close())
