import { ANY, type Text } from './glob.ts'

/** Descriptors, and the file that keeps nothing. */
const HARMLESS_TARGET = /^(\d+-?|-|\/dev\/null)$/

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
  /** The next word is the target of a redirection. */
  #isTarget = false
  #doubt: string | null = null

  constructor(line: string) {
    this.#line = line
  }

  /** Its commands, or the reason why bash may read it in another way. */
  read(): readonly Line[] | { readonly doubt: string } {
    while (this.#at < this.#line.length && this.#doubt === null) this.#read(this.#next())
    this.#endWord()
    if (this.#isTarget) this.#doubt ??= 'a redirection has no target'
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
    if (!this.#isTarget) line?.words.push(word)
    else if (line !== undefined && !HARMLESS_TARGET.test(textOf(word))) line.redirects = true
    this.#isTarget = false
    this.#parts = null
    this.#raw = ''
    this.#isUnknown = false
  }

  #endCommand(): void {
    this.#endWord()
    if (this.#isTarget) this.#doubt = 'a redirection has no target'
    this.#lines.push({ words: [], redirects: false })
  }

  #redirect(char: string): void {
    // A number right before it is a descriptor.
    if (/^\d+$/.test(this.#raw)) this.#parts = null
    this.#raw = this.#parts === null ? '' : this.#raw
    this.#endWord()
    const [operator = ''] = /^[<>&|]*/.exec(this.#line.slice(this.#at)) ?? []
    if (char === '<' && operator.startsWith('<')) {
      this.#doubt = 'it has a here-document'
      return
    }
    this.#at += operator.length
    this.#isTarget = true
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
    if (char !== '\n') this.#add(char)
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

const textOf = ({ parts }: Word): string => parts.map((part) => part ?? '\0').join('')
