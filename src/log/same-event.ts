import { isDeepStrictEqual } from 'node:util'
import type { NewEvent, RecordedEvent } from '../store/event-store.ts'
import { stringsGone, withoutStrings } from './remainder.ts'

/** Whether two stores hold the same event at the same place, apart from what was taken out of either. */
export function isSameEvent(there: RecordedEvent, event: RecordedEvent | undefined): boolean {
  return (
    there.revision === event?.revision &&
    there.id === event.id &&
    there.type === event.type &&
    there.altered !== true &&
    event.altered !== true &&
    (isSameContent(there, event) || isSameButForRedactions(there, event))
  )
}

const isSameContent = (one: NewEvent, other: NewEvent): boolean =>
  isSameJson(one.data, other.data) && isSameJson(one.metadata, other.metadata)

/** Strings may have been taken out of one of them since it was copied; or out of both. */
function isSameButForRedactions(one: NewEvent, other: NewEvent): boolean {
  try {
    const gone = new Set([...stringsGone(one), ...stringsGone(other)])
    if (gone.size === 0) return false
    return isSameContent(withoutStrings(one, gone).event, withoutStrings(other, gone).event)
  } catch {
    // One of them is no record of ours.
    return false
  }
}

/** A store may write the same JSON in another way. */
function isSameJson(one: string, other: string): boolean {
  return one === other || isDeepStrictEqual(jsonOf(one), jsonOf(other))
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
