/** Escapes a text for a regular expression. */
export const literally = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')

/** A literal in a text. */
type Hit = { readonly index: number; readonly literal: string }

const TABLE_BITS = 18
const TABLE_MASK = 2 ** TABLE_BITS - 1
/** Characters of a literal that are looked up at once: as many as the shortest literals have. */
const WINDOW = 3
/** After this many shifts, nothing is left of a character in the hash. */
const SHIFT_BITS = TABLE_BITS / WINDOW

/**
 * Makes a function that finds the first of some literals at or after a place; of those that begin there, the first in the
 * list. With as many literals as there are shapes, a regular expression alone takes half as long again: it tries some of
 * them at most places. This tries them only where the next three characters have the hash of a beginning.
 * @param literals each of at least three characters
 */
export function literalSearch(
  literals: readonly string[],
): (text: string, from: number) => Hit | null {
  const here = new RegExp(literals.map(literally).join('|'), 'y')
  const begins = new Uint8Array(2 ** TABLE_BITS)
  for (const literal of literals) {
    let hash = 0
    for (let at = 0; at < WINDOW; at += 1) hash = (hash << SHIFT_BITS) ^ literal.charCodeAt(at)
    begins[hash & TABLE_MASK] = 1
  }
  return (text, from) => {
    let hash = 0
    for (let at = from; at < text.length; at += 1) {
      hash = ((hash << SHIFT_BITS) ^ text.charCodeAt(at)) & TABLE_MASK
      if (begins[hash] === 0 || at - from < WINDOW - 1) continue
      here.lastIndex = at - WINDOW + 1
      const found = here.exec(text)
      if (found !== null) return { index: found.index, literal: found[0] }
    }
    return null
  }
}

/** All proper beginnings of some texts, and the length of the longest. */
export type Prefixes = { readonly all: ReadonlySet<string>; readonly longest: number }

export function properPrefixes(texts: readonly string[]): Prefixes {
  const all = new Set<string>()
  for (const text of texts) {
    for (let length = 1; length < text.length; length += 1) all.add(text.slice(0, length))
  }
  return { all, longest: Math.max(0, ...texts.map((text) => text.length - 1)) }
}

/** Where the longest prefix that ends the text begins, at or after `from`; the length of the text if there is none. */
export function startOfPrefix(text: string, from: number, { all, longest }: Prefixes): number {
  for (let at = Math.max(from, text.length - longest); at < text.length; at += 1) {
    if (all.has(text.slice(at))) return at
  }
  return text.length
}
