/** The value of a JSON text; `otherwise` if it is not JSON. */
export function jsonOr(text: string, otherwise: unknown): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return otherwise
  }
}

/**
 * Replaces lone surrogates: JSON text may hold them as escapes, but canonical UTF-8 cannot.
 * @param text the JSON of the value
 */
export function wellFormed<T>(value: T, text: string): T {
  if (!text.includes('\\ud') || !/\\ud[89a-f]/.test(text)) return value
  return JSON.parse(text, (_key, item: unknown) => {
    if (typeof item === 'string') return item.toWellFormed()
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    const entries = Object.entries(item)
    return Object.fromEntries(entries.map(([name, value]) => [name.toWellFormed(), value]))
  })
}

const [QUOTE, COLON, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [
  0x22, 0x3a, 0x5b, 0x5d, 0x7b, 0x7d,
] as const

/**
 * A name that an object of a JSON text has twice: `JSON.parse` silently keeps the last value. Null if no name is there twice.
 * Names that are equal once they are well-formed count as the same.
 * @param value `JSON.parse(text)`
 */
export function repeatedName(text: string, value: unknown): string | null {
  if (!text.includes('\\') && JSON.stringify(value) === text) return null
  /** The names of the objects around a place; null for an array. */
  const around: (Set<string> | null)[] = []
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at)
    if (character === OPEN_OBJECT) around.push(new Set())
    else if (character === OPEN_ARRAY) around.push(null)
    else if (character === CLOSE_OBJECT || character === CLOSE_ARRAY) around.pop()
    else if (character === QUOTE) {
      const end = closingQuote(text, at)
      const names = isColonNext(text, end + 1) ? around.at(-1) : null
      if (names) {
        const name = String(JSON.parse(text.slice(at, end + 1))).toWellFormed()
        if (names.has(name)) return name
        names.add(name)
      }
      at = end
    }
  }
  return null
}

function closingQuote(text: string, from: number): number {
  for (let end = text.indexOf('"', from + 1); ; end = text.indexOf('"', end + 1)) {
    let escapes = 0
    while (text[end - 1 - escapes] === '\\') escapes += 1
    if (escapes % 2 === 0) return end
  }
}

const BLANK = /[ \t\n\r]/

function isColonNext(text: string, from: number): boolean {
  let at = from
  while (BLANK.test(text.charAt(at))) at += 1
  return text.charCodeAt(at) === COLON
}
