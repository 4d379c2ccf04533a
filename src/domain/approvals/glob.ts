/** A text of which parts may not be known: `ANY` is any text, also none. */
export type Text = readonly (string | typeof ANY)[]
export const ANY = null

const STAR = '*'
/** In a path, `*` stays within one folder, and `**` does not. */
const FOLDER_STAR = 'folder *'
type Token = { readonly char: string } | typeof STAR | typeof FOLDER_STAR

/** What a pattern is compared with. A pattern of a command that ends with ` *` matches it without arguments, too. */
export type Kind = 'name' | 'command' | 'path'

function* tokensOf(pattern: string, kind: Kind): Generator<Token> {
  for (const [part] of pattern.matchAll(/\*+|[^*]/gsu)) {
    if (!part.startsWith('*')) for (const char of part) yield { char }
    else yield kind === 'path' && part.length === 1 ? FOLDER_STAR : STAR
  }
}

/** The patterns that together match what this one does. */
function variants(pattern: string, kind: Kind): string[] {
  if (kind === 'command' && pattern.endsWith(' *')) return [pattern, pattern.slice(0, -2)]
  // `src/**` has the folder itself, and `**/x` has x in the first folder.
  if (kind !== 'path') return [pattern]
  const inside = pattern.endsWith('/**') ? [pattern, pattern.slice(0, -3)] : [pattern]
  return inside.flatMap((each) => (each.startsWith('**/') ? [each, each.slice(3)] : [each]))
}

/**
 * Whether a pattern matches a text: `surely`, whatever its unknown parts are, or `maybe`, for some of them. The time is
 * proportional to the lengths of the pattern and the text, whatever they are.
 */
export function matches(pattern: string, text: Text, kind: Kind, how: 'surely' | 'maybe'): boolean {
  return variants(pattern, kind).some((each) => isMatch([...tokensOf(each, kind)], text, how))
}

/** Follows all places of the pattern at once at which the text so far may end. */
function isMatch(pattern: readonly Token[], text: Text, how: 'surely' | 'maybe'): boolean {
  let places = passStars(pattern, new Set([0]))
  for (const part of text) {
    if (part === ANY) places = afterAny(pattern, places, how)
    else for (const char of part) places = afterChar(pattern, places, char)
    if (places.size === 0) return false
  }
  return places.has(pattern.length)
}

function afterChar(
  pattern: readonly Token[],
  places: ReadonlySet<number>,
  char: string,
): Set<number> {
  const next = new Set<number>()
  for (const place of places) {
    const token = pattern[place]
    if (token === STAR || (token === FOLDER_STAR && char !== '/')) next.add(place)
    else if (typeof token === 'object' && token.char === char) next.add(place + 1)
  }
  return passStars(pattern, next)
}

/** An unknown part is surely matched only by a star. It may be whatever the rest of a pattern asks for. */
function afterAny(
  pattern: readonly Token[],
  places: ReadonlySet<number>,
  how: 'surely' | 'maybe',
): Set<number> {
  const stars = [...places].filter((place) => pattern[place] === STAR)
  if (how === 'surely') return passStars(pattern, new Set(stars))
  const next = new Set<number>()
  for (let place = Math.min(...places); place <= pattern.length; place += 1) next.add(place)
  return next
}

/** A star matches nothing, too. */
function passStars(pattern: readonly Token[], places: Set<number>): Set<number> {
  for (const place of places) {
    if (pattern[place] === STAR || pattern[place] === FOLDER_STAR) places.add(place + 1)
  }
  return places
}
