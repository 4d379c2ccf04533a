/** A secret in a text, from `start` up to but not including `end`. */
export type Found = { readonly start: number; readonly end: number; readonly kind: string }

/** Finds one sort of secrets. */
export type Finder = {
  /**
   * The first secret that begins at or after `from`. `edge` is the beginning of the text, or the end of the previous
   * secret: the text before it does not affect what begins there.
   */
  find(text: string, from: number, edge: number): Found | null
  /**
   * The first place at or after `from` where a secret may begin, depending on text that is still to come; the length of
   * the text if no secret may.
   */
  undecided(text: string, from: number): number
}

/** The text that replaces a secret. */
export const maskOf = (kind: string): string => `[masked:${kind}]`

/** How far a finder looks for the end of a secret, in characters. */
const REACH_CHARS = 24_000
/** How far it looks at the text before a secret, in characters. */
const CONTEXT_CHARS = 80
/** How much undecided text is held back, in characters. If there is more, only its last REACH_CHARS characters are. */
const MAX_HELD_CHARS = 64_000

/** Replaces all that a finder finds by masks. Text without secrets is returned as it is. */
export function maskAll(finder: Finder, text: string, keepsLines = false): string {
  return maskUpTo(finder, text, { from: 0, limit: text.length, edge: 0, keepsLines }).masked
}

type Range = {
  readonly from: number
  readonly limit: number
  readonly edge: number
  /** Whether the line ends of a secret stay, after its mask. */
  readonly keepsLines?: boolean
}

/** Masks the secrets that begin before `limit`. `end` is where the masked text ends in the original. */
function maskUpTo(
  finder: Finder,
  text: string,
  { from, limit, edge, keepsLines = false }: Range,
): { readonly masked: string; readonly end: number; readonly endsInMask: boolean } {
  let masked = ''
  let at = from
  let found = finder.find(text, from, edge)
  while (found !== null && found.start < limit) {
    const lineEnds = keepsLines ? text.slice(found.start, found.end).replace(/[^\n]+/g, '') : ''
    masked += text.slice(at, found.start) + maskOf(found.kind) + lineEnds
    at = found.end
    found = finder.find(text, at, at)
  }
  const end = Math.max(at, limit)
  if (from === 0 && at === 0 && end === text.length) return { masked: text, end, endsInMask: false }
  return { masked: masked + text.slice(at, end), end, endsInMask: at === end && at > from }
}

/**
 * Masks a text that comes in pieces, in bounded memory. The result does not depend on where the text is cut. Text is
 * held back only while it may be the beginning of a secret.
 */
export class MaskingStream {
  readonly #finder: Finder
  /** The end of the text that was returned already, as context for the rest; empty after a mask. */
  #context = ''
  #held = ''

  constructor(finder: Finder) {
    this.#finder = finder
  }

  /** How much text is held back until more of it comes, in characters. */
  get heldChars(): number {
    return this.#held.length
  }

  /** Adds text; returns what is decided by now. */
  write(more: string): string {
    if (more === '') return ''
    const text = this.#context + this.#held + more
    const from = this.#context.length
    const undecided = this.#finder.undecided(text, from)
    const limit = text.length - undecided > MAX_HELD_CHARS ? text.length - REACH_CHARS : undecided
    return this.#release(text, from, limit)
  }

  /** Ends the text; returns the rest of it. */
  end(): string {
    const text = this.#context + this.#held
    return this.#release(text, this.#context.length, text.length)
  }

  /** Ends a text that was cut off: drops what may be the beginning of a secret. */
  cut(): string {
    this.#held = ''
    return ''
  }

  #release(text: string, from: number, limit: number): string {
    if (limit <= from) {
      this.#held = text.slice(from)
      return ''
    }
    const { masked, end, endsInMask } = maskUpTo(this.#finder, text, { from, limit, edge: 0 })
    this.#context = endsInMask ? '' : text.slice(Math.max(0, end - CONTEXT_CHARS), end)
    this.#held = text.slice(end)
    return masked
  }
}

/** Escapes a text for a regular expression. */
export const literally = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')

/** All proper beginnings of some texts, and the length of the longest. */
export type Prefixes = { readonly all: ReadonlySet<string>; readonly longest: number }

export function properPrefixes(texts: readonly string[]): Prefixes {
  const all = new Set<string>()
  for (const text of texts) {
    for (let length = 1; length < text.length; length += 1) all.add(text.slice(0, length))
  }
  return { all, longest: Math.max(0, ...texts.map((text) => text.length - 1)) }
}

/** Where the longest prefix that ends the text begins, at or after `from`; or the length of the text. */
export function startOfPrefix(text: string, from: number, { all, longest }: Prefixes): number {
  for (let at = Math.max(from, text.length - longest); at < text.length; at += 1) {
    if (all.has(text.slice(at))) return at
  }
  return text.length
}
