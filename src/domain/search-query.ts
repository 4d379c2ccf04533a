import { err, ok, type Result } from 'neverthrow'

/** A word of a text as the index has it, and its place in the text: UTF-16 offsets. */
type Token = { readonly word: string; readonly from: number; readonly to: number }

/** Letters, digits and their marks. Scripts that write no spaces have a word for each character. */
const WORD =
  /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}]|[[\p{L}\p{N}\p{M}]--[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}]]+/gv
/** The rest of a longer word, such as a key in base64, does not count. */
const MAX_WORD = 64
// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ASCII = /^[\x00-\x7f]*$/

/** The words of a text in their order, in lower case and without accents. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  for (const { 0: found, index: from } of text.matchAll(WORD)) {
    const plain = ASCII.test(found)
      ? found.toLowerCase()
      : found.toLowerCase().normalize('NFD').replace(/\p{M}/gu, '')
    const word = plain.slice(0, MAX_WORD).toWellFormed()
    if (word !== '') tokens.push({ word, from, to: from + found.length })
  }
  return tokens
}

const wordsOf = (text: string): string[] => tokensOf(text).map(({ word }) => word)

/** What is searched for: texts that hold all of the phrases. */
export type SearchQuery = {
  /** Words that come after each other; a phrase has at least one. */
  readonly phrases: readonly (readonly string[])[]
  /** Whether the last word of the last phrase is only the beginning of one. */
  readonly isOpen: boolean
}

/** A phrase in quotes, whose end may not be typed yet, or a word. */
const PART = /"([^"]*)("?)|[^\s"]+/g
const MAX_WORDS = 32

/** Reads what a person searches for. Any text is valid that has a word, and not too many. The error is the end of a sentence: "q …". */
export function parseQuery(text: string): Result<SearchQuery, string> {
  const parts = [...text.matchAll(PART)].flatMap(([part, phrase, end]) => {
    const words = wordsOf(phrase ?? part)
    return words.length === 0 ? [] : [{ words, isOpen: end !== '"' }]
  })
  const last = parts.at(-1)
  if (last === undefined) return err('must have a word to search for: letters or digits')
  const phrases = parts.map(({ words }) => words)
  const count = phrases.flat().length
  if (count > MAX_WORDS) return err(`must have at most ${MAX_WORDS} words, and has ${count}`)
  return ok({ phrases, isOpen: last.isOpen })
}

/** A part of a text, and the places in it that were searched for: UTF-16 offsets, the second exclusive, in order. */
export type Snippet = {
  readonly text: string
  readonly marks: readonly (readonly [from: number, to: number])[]
}

type Place = readonly [from: number, to: number]

/** About how long a snippet is, and how much of that comes before what was found. */
const SNIPPET = 200
const BEFORE = 60

/** The part of a text where the query is found: around what is rarest of it. Null if the text does not hold all phrases. */
export function snippetOf(text: string, query: SearchQuery): Snippet | null {
  const tokens = tokensOf(text)
  const found = query.phrases.map((phrase, at) => {
    return placesOf(tokens, phrase, query.isOpen && at === query.phrases.length - 1)
  })
  const [rarest = []] = found.toSorted((a, b) => a.length - b.length)
  const [anchor] = rarest
  if (anchor === undefined) return null
  const start = tokens.find(({ from }) => from >= anchor[0] - BEFORE)?.from ?? 0
  const from = anchor[0] <= BEFORE ? 0 : start
  const last = tokens.findLast(({ to }) => to <= from + SNIPPET)
  const to = text.length <= from + SNIPPET ? text.length : Math.max(last?.to ?? 0, anchor[0] + 1)
  const cut = text.slice(from, Math.min(to, from + SNIPPET)).toWellFormed()
  const head = from > 0 ? '…' : ''
  const tail = from + cut.length < text.length ? '…' : ''
  const shift = head.length - from
  const marks = joined(found.flat()).flatMap(([begin, end]): Place[] => {
    const mark = [Math.max(begin, from), Math.min(end, from + cut.length)] as const
    return mark[0] < mark[1] ? [[mark[0] + shift, mark[1] + shift]] : []
  })
  return { text: head + cut + tail, marks }
}

function placesOf(tokens: readonly Token[], phrase: readonly string[], isOpen: boolean): Place[] {
  const isAt = (at: number): boolean =>
    phrase.every((wanted, index) => {
      const word = tokens[at + index]?.word
      const isBeginning = isOpen && index === phrase.length - 1
      return isBeginning ? word?.startsWith(wanted) === true : word === wanted
    })
  return tokens.flatMap(({ from }, at): Place[] => {
    const end = tokens[at + phrase.length - 1]
    return end !== undefined && isAt(at) ? [[from, end.to]] : []
  })
}

/** The places in order; those that overlap are one. */
function joined(places: readonly Place[]): Place[] {
  const all: Place[] = []
  for (const [from, to] of places.toSorted(([a], [b]) => a - b)) {
    const last = all.at(-1)
    if (last !== undefined && from < last[1]) all[all.length - 1] = [last[0], Math.max(last[1], to)]
    else all.push([from, to])
  }
  return all
}
