import { useQuery } from '@tanstack/react-query'
import type { RunStatus } from '../../../src/api/records.ts'
import type { Permission } from '../../../src/client/index.ts'
import { NAMES_FOR_OTHERS, STATUS_NAMES } from '../ui/status.ts'
import { meQuery } from './queries.ts'

/** Why the person may not do this; null if they may, or if it is not known yet. */
export function useMayNot(permission: Permission): string | null {
  const { data: me } = useQuery(meQuery)
  if (me === undefined || me.may.includes(permission)) return null
  return `Your role, ${me.role}, may not do this.`
}

/** The names of statuses for this person: a run does not wait for those who may not decide. */
export function useStatusNames(): Readonly<Record<RunStatus, string>> {
  return useMayNot('runs:decide') === null ? STATUS_NAMES : NAMES_FOR_OTHERS
}
