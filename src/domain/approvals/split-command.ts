import { ANY, type Text } from './glob.ts'

/** One of the commands that a command line runs. */
export type SimpleCommand = {
  /** Its words with one blank between them, without quotes. */
  readonly text: Text
  /** What it may run beside that: the program without its folder, or what a program such as `timeout` runs. */
  readonly others: readonly Text[]
  /** Why `text` is not all that it does; null if it is. */
  readonly doubt: string | null
}

const MAX_CHARS = 4_000
/** The most words for which a program such as `timeout` may run each of the rest. */
const MAX_RUN_WORDS = 40

const wordSet = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/))

/** Programs that run their arguments. */
const RUNS_ITS_ARGUMENTS = wordSet(`
  env sudo doas nohup nice ionice timeout exec command builtin stdbuf setsid chroot unshare
  nsenter strace ltrace xargs find busybox systemd-run chrt taskset jobs
`)
/** Programs that run a text as commands, perhaps, or change what later commands mean. */
const RUNS_TEXT = wordSet(`
  sh bash dash zsh ksh fish rbash eval source . su ssh alias shopt trap enable hash complete bind
  mapfile readarray compgen watch parallel flock script entr
`)
/** Commands of bash that calculate: `a[$(x)]` runs x, even within quotes. */
const CALCULATES = wordSet(`
  let test [ printf read unset wait declare typeset local export readonly
`)
const KEYWORDS = wordSet(`
  if then else elif fi for while until do done case esac select function time coproc { } ! [[ ]]
  in
`)

const ASSIGNMENT = /^[A-Za-z_]\w*(\[[^\]]*\])?\+?=/

/**
 * The commands that bash runs for a command line; null if that is not certain. It knows less than bash, and gives up at everything
 * that it does not know.
 */
export function splitCommand(line: string): readonly SimpleCommand[] | null {
  const split = line.length > MAX_CHARS ? null : new Reader(line).read()
  if (split === null || split.some(({ words: [first] }) => KEYWORDS.has(first?.raw ?? '')))
    return null
  return split
    .filter(({ words, redirects }) => words.length > 0 || redirects)
    .map(({ words, redirects }) => simpleCommand(words, redirects))
}

function simpleCommand(words: readonly Word[], redirects: boolean): SimpleCommand {
  const start = words.findIndex(({ raw }) => !ASSIGNMENT.test(raw))
  const run = start === -1 ? [] : words.slice(start)
  const name = nameOf(run[0])
  const text = joined(words)
  const assigned = start === -1 ? words : words.slice(0, start)
  const others = [
    // An unknown word may be none, and then there is no blank before it.
    ...(text.includes(ANY)
      ? [text.filter((part, at) => part !== ' ' || text[at + 1] !== ANY)]
      : []),
    ...(start > 0 ? [joined(run)] : []),
    ...(name === null ? [] : [joined([{ parts: [name], raw: name }, ...run.slice(1)])]),
    ...argumentsRun(name, run),
    ...(assigned.some(mayCalculate) ? [[ANY]] : []),
  ]
  if (redirects) return { text, others, doubt: 'it reads or writes a file by < or >' }
  if (start > 0) return { text, others, doubt: 'it sets variables' }
  if (name !== null || run.length === 0) return { text, others, doubt: null }
  return { text, others, doubt: 'the name of its program is not known' }
}

/** The name of the program without its folder; null if it is not known. */
function nameOf(program: Word | undefined): string | null {
  const [path = '', rest] = program?.parts ?? []
  if (path === ANY || rest !== undefined || path === '' || /\s/.test(path)) return null
  return path.slice(path.lastIndexOf('/') + 1)
}

function argumentsRun(name: string | null, run: readonly Word[]): Text[] {
  if (name === null || RUNS_TEXT.has(name)) return run.length === 0 ? [] : [[ANY]]
  if (CALCULATES.has(name)) return run.some(mayCalculate) ? [[ANY]] : []
  if (!RUNS_ITS_ARGUMENTS.has(name)) return []
  if (run.length > MAX_RUN_WORDS) return [[ANY]]
  // With an option, it may split a text into a command.
  if (name === 'env' && !run.every(({ raw }) => /^[\w./]/.test(raw))) return [[ANY]]
  return run.slice(1).flatMap((_, index) => {
    const rest = run.slice(index + 1)
    const own = nameOf(rest[0])
    if (own !== null && RUNS_TEXT.has(own)) return [[ANY]]
    const named = own === null ? rest : [{ parts: [own], raw: own }, ...rest.slice(1)]
    // xargs and find add words that are not known.
    return [[...joined(named), ANY]]
  })
}

/** Whether a word runs a command if bash calculates with it. */
const mayCalculate = ({ raw }: Word): boolean => /\$\(|`/.test(raw)

/** An unknown text has the blank after it, for it may be no word at all. */
function joined(words: readonly Word[]): Text {
  const text: (string | typeof ANY)[] = []
  for (const { parts } of words) {
    if (text.length > 0 && text.at(-1) !== ANY) text.push(' ')
    text.push(...parts)
  }
  return text
}

/** A word: its text without quotes, and its characters as they are written. */
type Word = { readonly parts: Text; readonly raw: string }
type Line = { readonly words: Word[]; redirects: boolean }

/** What comes next in a line, and what the reader does with it or its group. The first row that fits decides. */
type Row = readonly [what: RegExp, how: Exclude<keyof Reader, 'read'>]

const UNKNOWN_PART: Row = [/\$(?=[\w@*#?$!-])/y, 'addUnknown']
const QUOTED: readonly Row[] = [
  [/\\([$`"\\])/y, 'add'],
  UNKNOWN_PART,
  [/[`$]|\\\n|$/y, 'giveUp'],
  [/[^"$`\\]+|./sy, 'add'],
]
const BETWEEN_WORDS: readonly Row[] = [
  [/#[^\n]*|\\\n/y, 'skip'],
  [/\[(?=[ \t]|$)/y, 'add'],
]
const UNQUOTED: readonly Row[] = [
  [/[\w./:=@%+,~^]+/y, 'add'],
  [/[<>]+&[ \t]*-|<</y, 'giveUp'],
  [/[<>][<>&|]*/y, 'redirect'],
  [/[ \t]+|&(?=>)/y, 'endWord'],
  [/[\n;|&]/y, 'endCommand'],
  [/'([^']*)'/y, 'add'],
  [/"/y, 'readQuoted'],
  UNKNOWN_PART,
  [/[[*?{]/y, 'addUnknown'],
  [/\\([^\n])/y, 'add'],
  [/[`$()'\\]/y, 'giveUp'],
  [/./sy, 'add'],
]

/** A redirection to the file that keeps nothing, or to another descriptor. */
const HARMLESS = /^\S+ \/dev\/null$|^[<>]& \d{1,9}$/

class Reader {
  readonly #text: string
  #at = 0
  #line: Line = { words: [], redirects: false }
  readonly #lines = [this.#line]
  /** The word that is read; null between words. From an unknown part on, only bash knows its text. */
  #word: { text: string; raw: string; isUnknown: boolean } | null = null
  /** The next word is the target of this redirection. */
  #redirection: string | null = null
  #isCertain = true

  constructor(text: string) {
    this.#text = text
  }

  /** The commands of a line as bash reads it; null if bash may read it in another way. */
  read(): readonly Line[] | null {
    while (this.#at < this.#text.length && this.#isCertain) {
      const isBetween = this.#word === null && this.#redirection === null
      this.#take(isBetween ? [...BETWEEN_WORDS, ...UNQUOTED] : UNQUOTED)
    }
    this.endCommand()
    return this.#isCertain ? this.#lines : null
  }

  #take(rows: readonly Row[]): void {
    for (const [what, how] of rows) {
      what.lastIndex = this.#at
      const [found, text = found ?? ''] = what.exec(this.#text) ?? []
      if (found === undefined) continue
      this.#at += found.length
      this[how](text, found)
      return
    }
  }

  giveUp(): void {
    this.#isCertain = false
  }

  skip(): void {}

  readQuoted(): void {
    this.add('', '"')
    while (this.#isCertain && this.#text[this.#at] !== '"') this.#take(QUOTED)
    this.#at += 1
  }

  redirect(operator: string): void {
    // A number right before it is a descriptor, unless it is too large for one.
    const digits = /^\d+$/.exec(this.#word?.raw ?? '')?.[0].length ?? 0
    if (digits > 9) this.giveUp()
    if (digits > 0) this.#word = null
    this.endWord()
    this.#redirection = operator
  }

  /** @param raw keeps quotes and backslashes: with these, it is neither a keyword nor a number */
  add(text: string, raw = text): void {
    this.#word ??= { text: '', raw: '', isUnknown: false }
    this.#word.raw += raw
    if (!this.#word.isUnknown) this.#word.text += text
  }

  addUnknown(raw: string): void {
    this.add('', raw)
    if (this.#word !== null) this.#word.isUnknown = true
  }

  endWord(): void {
    if (this.#word === null) return
    const { text, raw, isUnknown } = this.#word
    if (this.#redirection === null) {
      this.#line.words.push({ parts: isUnknown ? [text, ANY] : [text], raw })
    } else if (isUnknown || !HARMLESS.test(`${this.#redirection} ${text}`)) {
      this.#line.redirects = true
    }
    this.#redirection = null
    this.#word = null
  }

  endCommand(): void {
    this.endWord()
    if (this.#redirection !== null) this.giveUp()
    this.#line = { words: [], redirects: false }
    this.#lines.push(this.#line)
  }
}
