type Arguments = Readonly<Record<string, unknown>>

/** What is known of a JSON object whose text is still being written. A name without a value is left out. */
export function partialObject(text: string): Arguments {
  const closers = openIn(text)
  if (closers === null) return {}
  // The last name may have no value yet: then the object ends before it.
  for (const end of endings(text)) {
    const value = parsed(`${text.slice(0, end)}${openIn(text.slice(0, end)) ?? ''}`)
    if (value !== null) return value
  }
  return {}
}

function parsed(text: string): Arguments | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Arguments)
      : null
  } catch {
    return null
  }
}

/** Where the text may be cut so that it can be completed, the latest first. */
function* endings(text: string): Generator<number> {
  yield text.length
  // Before an escape that is not complete.
  const begun = /\\(?:u[0-9a-fA-F]{0,3})?$/.exec(text)
  if (begun !== null) yield begun.index
  for (let comma = text.lastIndexOf(','); comma > 0; comma = text.lastIndexOf(',', comma - 1)) {
    yield comma
  }
  yield 1
}

/** What closes all that is open at the end of a text; null if it is not an object. */
function openIn(text: string): string | null {
  if (!text.trimStart().startsWith('{')) return null
  const closers: string[] = []
  let inString = false
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]
    if (inString && character === '\\') at += 1
    else if (character === '"') inString = !inString
    else if (inString) continue
    else if (character === '{') closers.push('}')
    else if (character === '[') closers.push(']')
    else if (character === '}' || character === ']') closers.pop()
  }
  return `${inString ? '"' : ''}${closers.reverse().join('')}`
}
