import { useQueries } from '@tanstack/react-query'
import { useState } from 'react'
import type { RunSummary } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'

/** A run in the list, or below the run whose agent has started it. */
type Line = { readonly run: RunSummary; readonly depth: number; readonly isOpen: boolean }

/** The runs of a list, with the sub-agents of those that a person has opened. */
export function useFamilies(runs: readonly RunSummary[]) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const ids = [...open]
  const answers = useQueries({
    queries: ids.map((parent) => ({
      queryKey: ['sub-agents', parent],
      queryFn: ({ signal }: { readonly signal: AbortSignal }) =>
        answerOf(client().runs.list({ parent, order: 'asc', limit: 1000 }, { signal })),
      refetchInterval: 3_000,
    })),
  })
  const below = new Map(ids.map((id, index) => [id, answers[index]?.data?.runs ?? []]))
  const linesOf = (run: RunSummary, depth: number): Line[] => {
    const children = below.get(run.run_id) ?? []
    const isOpen = below.has(run.run_id)
    return [{ run, depth, isOpen }, ...children.flatMap((child) => linesOf(child, depth + 1))]
  }
  const toggle = (id: string): void => {
    const next = new Set(open)
    if (!next.delete(id)) next.add(id)
    setOpen(next)
  }
  return { lines: runs.flatMap((run) => linesOf(run, 0)), toggle }
}
