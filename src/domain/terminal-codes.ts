/**
 * What a program writes to steer a terminal: control sequences (colours, the cursor), strings of commands
 * (titles, links; all up to their end, or the introducer alone if no end comes) and short escapes. A match
 * never reaches past the next escape, so the time is linear in the text, whatever is in it.
 */
const CODES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that it is about
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])(?:[^\0-\x08\x0a-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c))?|\x1b[ -/]*[0-~]?/g

/** A text without the codes that steer a terminal; other control characters stay. */
export function stripTerminalCodes(text: string): string {
  return text.replace(CODES, '')
}
