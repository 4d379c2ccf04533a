/** A secret in a text, from `start` up to but not including `end`. */
export type Found = { readonly start: number; readonly end: number; readonly kind: string }

/** Finds secrets of some sort. */
export type Finder = {
  /**
   * The first secret that begins at `from` or behind it. What stands before `edge` tells nothing about
   * what begins there: it is the beginning of the text, or the end of the secret before.
   */
  find(text: string, from: number, edge: number): Found | null
  /**
   * The first place, at `from` or behind it, that may turn out to be the beginning of a secret when more
   * text comes; the length of the text where there is none.
   */
  undecided(text: string, from: number): number
}

/** What stands in place of a secret. */
export const maskOf = (kind: string): string => `[masked:${kind}]`

/** What stands in a text in place of secrets, each once, wherever it comes from. */
export const masksIn = (text: string): string[] => [
  ...new Set(text.match(/\[masked:[\w-]+\]/g) ?? []),
]

/** How far a finder looks for the end of a secret, in characters. */
const REACH = 24_000
/** How far it looks at what stands before one. */
const CONTEXT = 16
/** Text that is held back at most until it is decided; then what is beyond reach is. */
const MOST_HELD = 64_000

/** Puts masks in place of all that a finder finds. Text without any comes back as it is. */
export function maskAll(finder: Finder, text: string): string {
  return maskUpTo(finder, text, { from: 0, limit: text.length, edge: 0 }).masked
}

type Range = { readonly from: number; readonly limit: number; readonly edge: number }

/** Masks what begins before `limit`. `end` is where the masked text ends in the original. */
function maskUpTo(
  finder: Finder,
  text: string,
  { from, limit, edge }: Range,
): { readonly masked: string; readonly end: number; readonly endsInMask: boolean } {
  let masked = ''
  let at = from
  let found = finder.find(text, from, edge)
  while (found !== null && found.start < limit) {
    masked += text.slice(at, found.start) + maskOf(found.kind)
    at = found.end
    found = finder.find(text, at, at)
  }
  const end = Math.max(at, limit)
  if (from === 0 && at === 0 && end === text.length) return { masked: text, end, endsInMask: false }
  return { masked: masked + text.slice(at, end), end, endsInMask: at === end && at > from }
}

/**
 * Masks a text that comes in pieces, in bounded memory: the same comes out, however it is cut. Text is
 * held back only while it may be the beginning of a secret.
 */
export class MaskingStream {
  readonly #finder: Finder
  /** Text that went out already, for what stands before the rest; empty behind a mask. */
  #context = ''
  #held = ''

  constructor(finder: Finder) {
    this.#finder = finder
  }

  /** Whether text is held back. */
  get holds(): boolean {
    return this.#held !== ''
  }

  /** Takes more text; answers what is decided by now. */
  write(more: string): string {
    if (more === '') return ''
    const text = this.#context + this.#held + more
    const from = this.#context.length
    const undecided = this.#finder.undecided(text, from)
    const limit = text.length - undecided > MOST_HELD ? text.length - REACH : undecided
    return this.#release(text, from, limit)
  }

  /** Ends the text; answers the rest of it. */
  end(): string {
    const text = this.#context + this.#held
    return this.#release(text, this.#context.length, text.length)
  }

  /** Ends the text where it was cut: what may be the beginning of a secret is left out. */
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
    this.#context = endsInMask ? '' : text.slice(Math.max(0, end - CONTEXT), end)
    this.#held = text.slice(end)
    return masked
  }
}
