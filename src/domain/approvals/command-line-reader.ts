import { ANY, type Text } from './glob.ts'

/** The file that keeps nothing. */
const NO_FILE = '/dev/null'
/** A descriptor after `>&` or `<&`, which `-` moves. After any other operator, it is the name of a file. */
const DESCRIPTOR = /^\d{1,9}-?$/

/** A word of a command line: its text without quotes, and its characters as they are written. */
export type Word = { readonly parts: Text; readonly raw: string }
type Line = { words: Word[]; redirects: boolean }

/** Reads a command line as bash does, character by character. */
export class CommandLineReader {
  readonly #line: string
  #at = 0
  readonly #lines: Line[] = [{ words: [], redirects: false }]
  /** The word that is read; null between words. */
  #parts: (string | typeof ANY)[] | null = null
  #raw = ''
  /** The rest of the word is not known. */
  #isUnknown = false
  /** The next word is the target of this redirection. */
  #redirection: string | null = null
  #doubt: string | null = null

  constructor(line: string) {
    this.#line = line
  }

  /** Its commands, or the reason why bash may read it in another way. */
  read(): readonly Line[] | { readonly doubt: string } {
    while (this.#at < this.#line.length && this.#doubt === null) this.#read(this.#next())
    this.#endWord()
    if (this.#redirection !== null) this.#doubt ??= 'a redirection has no target'
    return this.#doubt === null ? this.#lines : { doubt: this.#doubt }
  }

  #next(): string {
    const char = this.#line.charAt(this.#at)
    this.#at += 1
    return char
  }

  #peek = (): string => this.#line.charAt(this.#at)

  #read(char: string): void {
    switch (char) {
      case ' ':
      case '\t':
        this.#endWord()
        break
      case '\n':
      case ';':
      case '|':
        this.#endCommand()
        break
      case '&':
        if (this.#peek() === '>') this.#endWord()
        else this.#endCommand()
        break
      case '<':
      case '>':
        this.#redirect(char)
        break
      case '(':
      case ')':
        this.#doubt = 'it has a parenthesis outside of quotes'
        break
      case "'":
        this.#singleQuoted()
        break
      case '"':
        this.#doubleQuoted()
        break
      case '\\':
        this.#escaped()
        break
      case '#':
        if (this.#parts === null) this.#comment()
        else this.#add(char)
        break
      case '$':
      case '`':
        this.#expansion(char)
        break
      case '[':
        if (this.#parts === null && ' \t'.includes(this.#peek())) this.#add(char)
        else this.#unknown(char)
        break
      case '*':
      case '?':
      case '{':
        this.#unknown(char)
        break
      case '-':
        // A descriptor is closed, and another word begins.
        if (this.#parts === null && isOfDescriptors(this.#redirection)) this.#redirection = null
        else this.#add(char)
        break
      default:
        this.#add(char)
        break
    }
  }

  #add(char: string): void {
    this.#parts ??= []
    this.#raw += char
    if (this.#isUnknown) return
    const last = this.#parts.at(-1)
    if (typeof last === 'string') this.#parts[this.#parts.length - 1] = last + char
    else this.#parts.push(char)
  }

  /** From here to the end of the word, only bash knows the text. */
  #unknown(char: string): void {
    this.#parts ??= []
    this.#raw += char
    if (!this.#isUnknown) this.#parts.push(ANY)
    this.#isUnknown = true
  }

  #endWord(): void {
    if (this.#parts === null) return
    const word = { parts: this.#parts.length === 0 ? [''] : this.#parts, raw: this.#raw }
    const line = this.#lines.at(-1)
    if (this.#redirection === null) line?.words.push(word)
    else if (line !== undefined && !isHarmless(this.#redirection, textOf(word))) {
      line.redirects = true
    }
    this.#redirection = null
    this.#parts = null
    this.#raw = ''
    this.#isUnknown = false
  }

  #endCommand(): void {
    this.#endWord()
    if (this.#redirection !== null) this.#doubt = 'a redirection has no target'
    this.#lines.push({ words: [], redirects: false })
  }

  #redirect(char: string): void {
    // A number right before it is a descriptor, unless it is too large for one.
    if (/^\d+$/.test(this.#raw)) {
      if (!DESCRIPTOR.test(this.#raw)) this.#doubt = 'it has a large number before a redirection'
      this.#parts = null
    }
    this.#raw = this.#parts === null ? '' : this.#raw
    this.#endWord()
    const [operator = ''] = /^[<>&|]*/.exec(this.#line.slice(this.#at)) ?? []
    if (char === '<' && operator.startsWith('<')) {
      this.#doubt = 'it has a here-document'
      return
    }
    this.#at += operator.length
    this.#redirection = char + operator
  }

  #singleQuoted(): void {
    const end = this.#line.indexOf("'", this.#at)
    if (end === -1) this.#doubt = 'a quote does not end'
    this.#parts ??= []
    this.#raw += "'"
    for (const char of this.#line.slice(this.#at, Math.max(end, this.#at))) this.#add(char)
    this.#at = end + 1
  }

  #doubleQuoted(): void {
    this.#parts ??= []
    this.#raw += '"'
    while (this.#doubt === null) {
      if (this.#at >= this.#line.length) this.#doubt = 'a quote does not end'
      const char = this.#next()
      if (char === '"') return
      if (char === '$' || char === '`') this.#expansion(char)
      else if (char === '\\' && '$`"\\\n'.includes(this.#peek())) this.#escaped()
      else this.#add(char)
    }
  }

  #escaped(): void {
    if (this.#at >= this.#line.length) this.#doubt = 'it ends with a backslash'
    const char = this.#next()
    if (char !== '\n') {
      // A quoted character is neither a part of a keyword nor of a number.
      this.#raw += '\\'
      this.#add(char)
    } else if (this.#parts !== null || this.#redirection !== null) {
      this.#doubt = 'a line continues within a word'
    }
  }

  #comment(): void {
    const end = this.#line.indexOf('\n', this.#at)
    this.#at = end === -1 ? this.#line.length : end
  }

  #expansion(char: string): void {
    const next = this.#peek()
    if (char === '`' || next === '(') this.#doubt = 'it has a command substitution'
    else if (next === '{' || next === '[') this.#doubt = 'it has an expansion in braces or brackets'
    else if (next === "'" || next === '"') this.#doubt = "it has a quote such as $'…'"
    else if (/[\w@*#?$!-]/.test(next)) this.#unknown(char)
    else this.#add(char)
  }
}

const isOfDescriptors = (operator: string | null): boolean => operator === '>&' || operator === '<&'

const isHarmless = (operator: string, target: string): boolean =>
  target === NO_FILE || (isOfDescriptors(operator) && DESCRIPTOR.test(target))

const textOf = ({ parts }: Word): string => parts.map((part) => part ?? '\0').join('')
