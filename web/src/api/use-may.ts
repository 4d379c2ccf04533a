import { useQuery } from '@tanstack/react-query'
import type { Permission } from '../../../src/client/index.ts'
import { meQuery } from './queries.ts'

/** Why whoever looks at the page may not do this; null where they may, or where it is not known yet. */
export function useMayNot(permission: Permission): string | null {
  const { data: me } = useQuery(meQuery)
  if (me === undefined || me.may.includes(permission)) return null
  return `Your role, ${me.role}, may not do this.`
}
