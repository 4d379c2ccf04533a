/**
 * What turns the direction of writing, or is not seen at all. It does not include what joins emoji and
 * letters of some scripts, line feeds and tabs.
 */
const HIDDEN =
  /[[\p{Cc}\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]--[\t\n\r\u200c\u200d\ufe0e\ufe0f]]/gv

/**
 * Text from a model, a tool or a file in which nothing is hidden: in `a⟨U+202E⟩b` a person sees what the
 * machine reads, and one text cannot look like another.
 */
export const visible = (text: string): string =>
  text.replace(HIDDEN, (found) => {
    const code = found.codePointAt(0) ?? 0
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`
  })

const PROTOCOLS: readonly string[] = ['http:', 'https:', 'mailto:']

/** Where a link in foreign text may lead: to an address that is named whole, of the web or of mail. */
export function outsideAddress(href: string | undefined): string | null {
  const address = URL.parse(href ?? '')
  return address !== null && PROTOCOLS.includes(address.protocol) ? address.href : null
}

const MAX_CHARS = 20_000
const MAX_LINES = 600
/** Quotes and lists in each other; the page is drawn by recursion over them. */
const MAX_DEPTH = 16
/** Characters that open emphasis, links and their like, in one paragraph: each is compared with the others. */
const MAX_OPEN = 1000

const DEEP = new RegExp(`^(?:[ \\t]*(?:[>*+-]|\\d{1,9}[.)])){${MAX_DEPTH}}`)
const INDENT = new RegExp(`^[ \\t]{${4 * MAX_DEPTH},}[>*+\\d-]`)
const OPENING = /[[*_]/g

/**
 * Whether text can be read as Markdown at once. There is text of a few thousand characters with which that takes
 * minutes, or more of the stack than there is.
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
 * Whether code can be coloured at once: the grammars read a long word, or many empty lines, again and again.
 * That of JSON does not.
 */
export function isQuicklyColoured(text: string, language: string): boolean {
  if (text.length > MAX_CODE.chars) return false
  if (language === 'json') return true
  const lines = text.split('\n')
  return lines.length <= MAX_CODE.lines && lines.every((line) => line.length <= MAX_CODE.line)
}
