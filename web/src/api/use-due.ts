import { useQuery } from '@tanstack/react-query'
import type { RunSummary } from '../../../src/client/index.ts'
import { meQuery, waitingQuery } from './queries.ts'

const NONE: readonly RunSummary[] = []

/** The runs that wait for a decision of this person: none if their role may not decide. */
export function useDue(): readonly RunSummary[] {
  const { data: me } = useQuery(meQuery)
  const { data } = useQuery(waitingQuery)
  return me?.may.includes('runs:decide') ? (data?.runs ?? NONE) : NONE
}
