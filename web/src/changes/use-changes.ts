import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { RunChanges } from '../../../src/client/index.ts'
import { changesQuery } from '../api/queries.ts'
import type { RunView } from '../run/run-view.ts'
import { counted, formatCount } from '../ui/format.ts'
import { type Between, type LeftOutChange, leftOutAt, leftOutChanges } from './between.ts'

/** What changed between two snapshots, as the server says and the records show. Asking for it is in the access log. */
export function useChanges(runId: string, view: RunView, between: Between | null) {
  const { data: newest, error, isPlaceholderData } = useQuery(changesQuery(runId, between))
  const data = between === null ? undefined : newest
  const leftOut = useMemo(
    () => (data === undefined ? [] : leftOutChanges(leftOutAt(view, data.from.seq), data.left_out)),
    [data, view],
  )
  return { data, error, leftOut, isOld: isPlaceholderData }
}

/** How much changed, in words. */
export function summaryOf(
  { files, unknown }: RunChanges,
  leftOut: readonly LeftOutChange[],
): string {
  const sum = (key: 'additions' | 'deletions'): string =>
    formatCount(files.reduce((all, file) => all + file[key], 0))
  const beside = leftOut.filter(({ change }) => change !== null).length
  const parts = [
    [
      files.length,
      `${counted(files.length, 'file')} changed (+${sum('additions')} −${sum('deletions')})`,
    ],
    [unknown.length, `${counted(unknown.length, 'folder')} changed in an unknown way`],
    [beside, `${formatCount(beside)} left out of snapshots changed`],
  ] as const
  const told = parts.flatMap(([count, words]) => (count === 0 ? [] : [words]))
  return told.length === 0 ? 'No file changed' : told.join('; ')
}
