import { useQuery } from '@tanstack/react-query'
import type { Permission } from '../../../src/client/index.ts'
import { meQuery } from './queries.ts'

/** Why the person may not do this; null if they may, or if it is not known yet. */
export function useMayNot(permission: Permission): string | null {
  const { data: me } = useQuery(meQuery)
  if (me === undefined || me.may.includes(permission)) return null
  return `Your role, ${me.role}, may not do this.`
}
