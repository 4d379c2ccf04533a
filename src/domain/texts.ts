/** A text of a program or a person as a part of a sentence: without what ends it. */
export const unended = (text: string): string => text.replace(/(?<![\s.,:;])[\s.,:;]+$/, '')

/** A text with a capital letter at its beginning. */
export const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

const MAX_TITLE = 120

/** What a run is called by its instructions: their first line that says something, cut; null without one. */
export function titleOf(instructions = ''): string | null {
  const line = /\S.*/.exec(instructions)?.[0].trimEnd()
  return line === undefined ? null : [...line].slice(0, MAX_TITLE).join('')
}

/**
 * What a program writes to control a terminal: control sequences (colours, the cursor), strings of commands (titles,
 * links; all up to their end, or only the introducer if no end comes) and short escapes. A match never reaches past the
 * next escape, so the time is linear in the text.
 */
const CODES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal codes consist of these characters
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])(?:[^\0-\x08\x0a-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c))?|\x1b[ -/]*[0-~]?/g

/** A text without terminal codes; other control characters stay. */
export function stripTerminalCodes(text: string): string {
  return text.replace(CODES, '')
}

/** What a redaction leaves of a string. By itself it means nothing: the metadata says which strings are redacted. */
export const REDACTED = '[redacted]'

/** What is left of a string that was redacted, and what replaces a secret. */
const MARK = /\[redacted\]|\[masked:[\w-]+\]/

/** All masks in a text, each once. */
export const masksIn = (text: string): string[] => [
  ...new Set(text.match(/\[masked:[\w-]+\]/g) ?? []),
]

/** Whether two JSON values can be the same text: they differ only in strings of which a part is redacted or masked. */
export function mayBeSame(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a === 'string' && typeof b === 'string') return MARK.test(a) || MARK.test(b)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const [mine, theirs] = [namesOf(a), namesOf(b)]
  // It is not known which name was masked.
  if (mine.some((name) => MARK.test(name)) || theirs.some((name) => MARK.test(name))) return true
  if (mine.length !== theirs.length) return false
  return mine.every(
    (name) => Object.hasOwn(b, name) && mayBeSame(valueAt(a, name), valueAt(b, name)),
  )
}

const namesOf = (value: object): readonly string[] =>
  Object.keys(value).filter((name) => valueAt(value, name) !== undefined)

const valueAt = (value: object, name: string): unknown => Reflect.get(value, name)
