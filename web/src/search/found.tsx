import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import type { Kind, SearchResult } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf, isSilence } from '../api/problem.ts'
import { visible } from '../ui/foreign-text.ts'

/** What a person looks for, as kinds of records; all other kinds are `other`. */
export const GROUPS = {
  said: ['run_created', 'user_message', 'assistant_message', 'run_summary', 'context_compacted'],
  called: ['tool_call'],
  printed: ['tool_result'],
  changed: ['snapshot', 'guard_changed', 'changes_applied', 'files_rolled_back'],
  checked: ['goal_check', 'final_check'],
} as const satisfies Readonly<Record<string, readonly Kind[]>>
export type Group = keyof typeof GROUPS

/** What a kind of record is, in a word. */
export function groupOf(kind: Kind): string {
  const found = Object.entries(GROUPS).find(([, kinds]) => kinds.some((each) => each === kind))
  return found?.[0] ?? kind.replaceAll('_', ' ')
}

/** A page of the server's answer. */
const PAGE = 100
const POLL_MS = 1500

/** What the server finds, page by page; nothing while there is nothing to look for. */
export function useSearch(q: string, runId?: string, kinds?: readonly Kind[]) {
  const found = useInfiniteQuery({
    queryKey: ['search', q, runId, kinds],
    queryFn: ({ signal, pageParam }) => {
      const query = { q, run_id: runId, kinds, limit: PAGE, cursor: pageParam }
      return answerOf(client().search(query, { signal }))
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ next }) => next ?? undefined,
    enabled: q.trim() !== '',
    placeholderData: keepPreviousData,
    // While the index is being made, more may be found, and a server may come back.
    refetchInterval: ({ state: { data, error } }) =>
      isSilence(error) || (data?.pages.at(-1)?.behind ?? 0) > 0 ? POLL_MS : false,
    retry: false,
  })
  const pages = q.trim() === '' ? [] : (found.data?.pages ?? [])
  return {
    ...found,
    results: pages.flatMap(({ results }) => results),
    behind: pages.at(-1)?.behind ?? 0,
  }
}

/** A snippet with what was searched for. */
export function Snippet({ text, marks }: SearchResult['snippet']) {
  return (
    <>
      {marks.map(([from, to], at) => (
        <span key={from}>
          {visible(text.slice(marks[at - 1]?.[1] ?? 0, from))}
          <mark>{visible(text.slice(from, to))}</mark>
        </span>
      ))}
      {visible(text.slice(marks.at(-1)?.[1] ?? 0))}
    </>
  )
}
