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
