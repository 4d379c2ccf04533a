/** Escapes a text for a regular expression. */
export const literally = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')

/** All proper beginnings of some texts, and the length of the longest. */
type Prefixes = { readonly all: ReadonlySet<string>; readonly longest: number }

export function properPrefixes(texts: readonly string[]): Prefixes {
  const all = new Set<string>()
  for (const text of texts) {
    for (let length = 1; length < text.length; length += 1) all.add(text.slice(0, length))
  }
  return { all, longest: Math.max(0, ...texts.map((text) => text.length - 1)) }
}

/**
 * Where the longest prefix begins that the text ends with, at or after `from`; the length of the text if there is none.
 */
export function startOfPrefix(text: string, from: number, { all, longest }: Prefixes): number {
  for (let at = Math.max(from, text.length - longest); at < text.length; at += 1) {
    if (all.has(text.slice(at))) return at
  }
  return text.length
}
