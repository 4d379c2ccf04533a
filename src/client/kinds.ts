import { ALL_KINDS, DOCUMENTED_KINDS, type Kind } from '../domain/records.ts'
import type { Kinds } from './events.ts'

export function wantedKinds(kinds: Kinds | undefined): ReadonlySet<Kind> {
  if (kinds === undefined) return new Set(DOCUMENTED_KINDS)
  return new Set(kinds === 'all' ? ALL_KINDS : kinds)
}

/** Whether all kinds that this client knows are wanted: then no seq may be missing between two events. */
export const areAll = (wanted: ReadonlySet<Kind>): boolean => wanted.size === ALL_KINDS.length

/** A choice as a query has it. All are asked for as `all`: there a newer server sends its new kinds too. */
export const kindsText = (wanted: ReadonlySet<Kind>): string =>
  areAll(wanted) ? 'all' : [...wanted].join(',')
