import type { Kind } from '../../domain/records.ts'
import type { Selection } from '../event-query.ts'
import { tsOf } from './entry.ts'

/** Whether a frame is one of those that are wanted. */
export function selects({ kinds, fromTs, toTs }: Selection, kind: Kind, data: Buffer): boolean {
  if (!kinds.has(kind)) return false
  if (fromTs === 0 && toTs === Number.POSITIVE_INFINITY) return true
  const ts = tsOf(data)
  return ts >= fromTs && ts < toTs
}
