import { useSearchParams } from 'wouter'
import { RUN_STATUSES, type RunStatus } from '../../../src/api/records.ts'

/** The filters that the server applies; null is all. */
export type RunFilter = { readonly status: RunStatus | null; readonly goal: string | null }
export type Filter = RunFilter & { readonly search: string }

const statusFrom = (text: string | null): RunStatus | null =>
  RUN_STATUSES.find((status) => status === text) ?? null

/** The filter of the list, kept in the address, so that a view of the list can be shared and found again. */
export function useFilter(): readonly [Filter, (changes: Partial<Filter>) => void] {
  const [params, setParams] = useSearchParams()
  const filter: Filter = {
    status: statusFrom(params.get('status')),
    goal: params.get('goal'),
    search: params.get('q') ?? '',
  }
  const change = (changes: Partial<Filter>): void => {
    const { status, goal, search } = { ...filter, ...changes }
    const next = new URLSearchParams()
    if (status !== null) next.set('status', status)
    if (goal !== null) next.set('goal', goal)
    if (search !== '') next.set('q', search)
    setParams(next, { replace: 'search' in changes })
  }
  return [filter, change]
}
