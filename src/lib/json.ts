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
