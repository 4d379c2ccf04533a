/** A text of which parts may not be known: `ANY` is any text, also none. */
export type Text = readonly (string | typeof ANY)[]
export const ANY = null

/** What a pattern is compared with. A pattern of a command that ends with ` *` matches it without arguments, too. */
export type Kind = 'name' | 'command' | 'path'
type How = 'surely' | 'maybe'

/** How many steps a comparison may still take. A step is one place of a pattern at one character of a text. */
export type Meter = { left: number }

/** In a path, `*` stays within one folder, and `**` does not. No character has such a code. */
const [STAR, FOLDER_STAR] = [-1, -2]
const SLASH = '/'.charCodeAt(0)

/** The codes of a pattern's characters. */
function codesOf(pattern: string, kind: Kind): Int32Array {
  const codes = new Int32Array(pattern.length)
  let length = 0
  for (let at = 0; at < pattern.length; at += 1) {
    const isStar = pattern.charAt(at) === '*'
    const isLonger = isStar && at > 0 && pattern.charAt(at - 1) === '*'
    if (isLonger) length -= 1
    const star = kind === 'path' && !isLonger ? FOLDER_STAR : STAR
    codes[length] = isStar ? star : pattern.charCodeAt(at)
    length += 1
  }
  return codes.subarray(0, length)
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
 * Whether a pattern matches a text: `surely`, whatever its unknown parts are, or `maybe`, for some of them. It takes at
 * most as many steps as the product of both lengths. If there are not enough left, the pattern matches perhaps.
 */
export function matches(pattern: string, text: Text, kind: Kind, how: How, meter: Meter): boolean {
  return variants(pattern, kind).some((each) => isMatch(codesOf(each, kind), text, how, meter))
}

/** Places of a pattern, none of them before the first or after the last. */
class Places {
  readonly #pattern: Int32Array
  readonly #has: Uint8Array
  #first: number
  #last = -1

  constructor(pattern: Int32Array) {
    this.#pattern = pattern
    this.#has = new Uint8Array(pattern.length + 1)
    this.#first = pattern.length + 1
  }

  /** How many places a step looks at. */
  get width(): number {
    return Math.max(0, this.#last - this.#first + 1)
  }

  get hasEnd(): boolean {
    return this.#has[this.#pattern.length] === 1
  }

  /** Adds a place, and those after its stars: a star matches nothing, too. */
  add(place: number): void {
    for (let at = place; this.#has[at] === 0; at += 1) {
      this.#has[at] = 1
      this.#first = Math.min(this.#first, at)
      this.#last = Math.max(this.#last, at)
      if (!isStar(this.#pattern[at])) return
    }
  }

  /** The places after one more character, in place of those in `next`. */
  after(char: number, next: Places): Places {
    next.#clear()
    for (let at = this.#first; at <= this.#last; at += 1) {
      if (this.#has[at] === 0) continue
      const token = this.#pattern[at]
      if (token === STAR || (token === FOLDER_STAR && char !== SLASH)) next.add(at)
      else if (token === char) next.add(at + 1)
    }
    return next
  }

  /** An unknown part is surely matched only by a star. It may be whatever the rest of a pattern asks for. */
  afterAny(how: How, next: Places): Places {
    next.#clear()
    const last = how === 'maybe' ? this.#pattern.length : this.#last
    for (let at = this.#first; at <= last; at += 1) {
      if (how === 'maybe' || (this.#has[at] === 1 && this.#pattern[at] === STAR)) next.add(at)
    }
    return next
  }

  #clear(): void {
    this.#has.fill(0, this.#first, this.#last + 1)
    this.#first = this.#pattern.length + 1
    this.#last = -1
  }
}

const isStar = (token: number | undefined): boolean => token === STAR || token === FOLDER_STAR

/** Follows all places of the pattern at once at which the text so far may end. */
function isMatch(pattern: Int32Array, text: Text, how: How, meter: Meter): boolean {
  meter.left -= pattern.length + 1
  let places = new Places(pattern)
  let other = new Places(pattern)
  places.add(0)
  for (const part of text) {
    for (let at = 0; at < (part?.length ?? 1); at += 1) {
      meter.left -= places.width
      if (meter.left <= 0) return how === 'maybe'
      const next =
        part === ANY ? places.afterAny(how, other) : places.after(part.charCodeAt(at), other)
      ;[places, other] = [next, places]
      if (places.width === 0) return false
    }
  }
  return places.hasEnd
}
