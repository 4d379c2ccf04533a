import { escapedName, mapStrings } from '../log/commitment.ts'

/** A string of a payload, by its RFC 6901 pointer. */
export type Place = { readonly pointer: string; readonly text: string }

/** All strings of a payload, in their order. */
export function stringsOf(payload: object): Place[] {
  const places: Place[] = []
  mapStrings(payload, (text, pointer) => {
    places.push({ pointer, text })
    return text
  })
  return places
}

/** The string at a pointer, or all strings below it. */
export function stringsAt(payload: object, pointer: string): Place[] {
  const asWritten = pointer.split('/').map(canonicalName).join('/')
  return stringsOf(payload).filter((place) => {
    return place.pointer === asWritten || place.pointer.startsWith(`${asWritten}/`)
  })
}

/** Brings two spellings of one name to one, such as a `~` that is not escaped. */
const canonicalName = (name: string): string =>
  escapedName(name.replaceAll('~1', '/').replaceAll('~0', '~'))

/** Shorter texts are not looked for: they would be found everywhere. */
const SHORTEST = 4

/** The forms that texts may have within other texts: as they are, and escaped as in JSON. */
export function needlesOf(texts: Iterable<string>): readonly string[] {
  const needles = new Set<string>()
  for (const text of texts) {
    if (text.trim().length < SHORTEST) continue
    needles.add(text)
    needles.add(JSON.stringify(text).slice(1, -1))
  }
  return [...needles]
}

export const holdsAny = (text: string, needles: readonly string[]): boolean =>
  needles.some((needle) => text.includes(needle))
