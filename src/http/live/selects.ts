import type { Selection } from '../../api/event-query.ts'
import type { Kind } from '../../domain/records.ts'
import { tsOf } from './text.ts'

/** Whether a record is one of those that are wanted. @param json the record, as text or in UTF-8 */
export function selects(
  { kinds, fromTs, toTs }: Selection,
  kind: Kind,
  json: string | Buffer,
): boolean {
  if (!kinds.has(kind)) return false
  if (fromTs === 0 && toTs === Number.POSITIVE_INFINITY) return true
  const ts = tsOf(json)
  return ts >= fromTs && ts < toTs
}
