/**
 * Characters that change the direction of writing, or are invisible. It does not include what joins emoji and
 * letters of some scripts, line feeds and tabs.
 */
const HIDDEN =
  /[[\p{Cc}\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]--[\t\n\r\u200c\u200d\ufe0e\ufe0f]]/gv

/**
 * Makes hidden characters of foreign text visible: in `a⟨U+202E⟩b` a person sees what the
 * machine reads, and one text cannot look like another.
 */
export const visible = (text: string): string =>
  text.replace(HIDDEN, (found) => {
    const code = found.codePointAt(0) ?? 0
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`
  })

const PROTOCOLS: readonly string[] = ['http:', 'https:', 'mailto:']

/** Where a link in foreign text may lead: to a complete address of the web or of mail. */
export function outsideAddress(href: string | undefined): string | null {
  const address = URL.parse(href ?? '')
  return address !== null && PROTOCOLS.includes(address.protocol) ? address.href : null
}

const MAX_CHARS = 20_000
const MAX_LINES = 600
/** How deep quotes and lists may be nested; the page draws them by recursion. */
const MAX_DEPTH = 16
/** Characters that open emphasis or links, in one paragraph: each is compared with the others. */
const MAX_OPEN = 1000

const DEEP = new RegExp(`^(?:[ \\t]*(?:[>*+-]|\\d{1,9}[.)])){${MAX_DEPTH}}`)
const INDENT = new RegExp(`^[ \\t]{${4 * MAX_DEPTH},}[>*+\\d-]`)
const OPENING = /[[*_]/g

/**
 * Whether text can be parsed as Markdown quickly. There are texts of a few thousand characters for which that takes
 * minutes, or overflows the stack.
 */
export function isSimple(text: string): boolean {
  if (text.length > MAX_CHARS) return false
  const lines = text.split('\n')
  if (lines.length > MAX_LINES) return false
  let open = 0
  for (const line of lines) {
    if (DEEP.test(line) || INDENT.test(line)) return false
    if (line.trim() === '') open = 0
    open += line.match(OPENING)?.length ?? 0
    if (open > MAX_OPEN) return false
  }
  return true
}

/** Longer code, or code of longer lines, is shown plain. */
const MAX_CODE = { chars: 50_000, lines: 2_000, line: 240 } as const

/**
 * Whether code can be highlighted quickly: the grammars read a long word, or many empty lines, repeatedly.
 * That of JSON does not.
 */
export function isQuicklyColoured(text: string, language: string): boolean {
  if (text.length > MAX_CODE.chars) return false
  if (language === 'json') return true
  const lines = text.split('\n')
  return lines.length <= MAX_CODE.lines && lines.every((line) => line.length <= MAX_CODE.line)
}
