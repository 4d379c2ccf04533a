/** A text of which parts may not be known: `ANY` is any text, also none. */
export type Text = readonly (string | typeof ANY)[]
export const ANY = null

/** What a pattern is compared with. A pattern of a command that ends with ` *` matches it without arguments, too. */
export type Kind = 'name' | 'command' | 'path'
type How = 'surely' | 'maybe'

/**
 * Whether a pattern matches a text: `surely`, whatever its unknown parts are, or `maybe`, for some of them. The time is
 * at most proportional to the product of both lengths.
 */
export function matches(pattern: string, text: Text, kind: Kind, how: How): boolean {
  return variants(pattern, kind).some((each) => isMatch(tokensOf(each, kind), text, how))
}

/** The patterns that together match what this one does. */
function variants(pattern: string, kind: Kind): string[] {
  if (kind === 'command' && pattern.endsWith(' *')) return [pattern, pattern.slice(0, -2)]
  // `src/**` has the folder itself, and `**/x` has x in the first folder.
  if (kind !== 'path') return [pattern]
  const inside = pattern.endsWith('/**') ? [pattern, pattern.slice(0, -3)] : [pattern]
  return inside.flatMap((each) => (each.startsWith('**/') ? [each, each.slice(3)] : [each]))
}

/** `STAR` is any text, and `FOLDER_STAR` any text within one folder. All other tokens are single characters. */
const STAR = '**'
const FOLDER_STAR = '*'
const isStar = (token: string | undefined): boolean => token === STAR || token === FOLDER_STAR

/** The characters and stars of a pattern. In a path, `*` stays within one folder, and `**` does not. */
const tokensOf = (pattern: string, kind: Kind): readonly string[] =>
  (pattern.match(/\*+|[^*]/g) ?? []).map((token) => {
    if (!token.startsWith('*')) return token
    return kind === 'path' && token.length === 1 ? FOLDER_STAR : STAR
  })

/** Follows all places of the pattern at once at which the text so far may end. They are in ascending order. */
function isMatch(pattern: readonly string[], text: Text, how: How): boolean {
  /** Adds a place, and those after its stars: a star matches nothing, too. */
  const add = (places: number[], place: number): void => {
    let at = place
    // What is not after the last one is there already, with those after its stars.
    while (at > (places.at(-1) ?? -1)) {
      places.push(at)
      if (isStar(pattern[at])) at += 1
    }
  }
  const after = (places: readonly number[], char: string): number[] => {
    const next: number[] = []
    for (const place of places) {
      const token = pattern[place]
      if (token === STAR || (token === FOLDER_STAR && char !== '/')) add(next, place)
      else if (token === char) add(next, place + 1)
    }
    return next
  }
  /** An unknown part is surely matched only by a star. It may be whatever the rest of a pattern asks for. */
  const afterAny = (places: readonly number[]): number[] => {
    const next: number[] = []
    const [first = 0] = places
    if (how === 'maybe') for (let at = first; at <= pattern.length; at += 1) next.push(at)
    else for (const place of places) if (pattern[place] === STAR) add(next, place)
    return next
  }
  let places: number[] = []
  add(places, 0)
  for (const part of text) {
    for (let at = 0; at < (part?.length ?? 1); at += 1) {
      places = part === ANY ? afterAny(places) : after(places, part.charAt(at))
      if (places.length === 0) return false
    }
  }
  return places.at(-1) === pattern.length
}
