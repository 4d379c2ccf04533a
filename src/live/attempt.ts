import type { Mask } from '../domain/mask/mask.ts'

/** What a part belongs to: a reply of the model, or what a command prints. */
export type PartName =
  | { readonly of: 'text' | 'reasoning' }
  /** The JSON text of the arguments of a call; `call` counts the calls of the reply from 0. */
  | { readonly of: 'arguments'; readonly call: number; readonly tool: string }
  /** `call_id` is null for the check of the goal. */
  | { readonly of: 'output'; readonly call_id: string | null }

/** How much of a part is kept for observers, in UTF-16 code units. If it is longer, its end is kept. */
export const MAX_PART_CHARS = 32_768
/** The most parts of one attempt. Observers see no more calls than these before their record comes. */
const MAX_PARTS = 24

/** A text under way, with secrets masked. It keeps its end, so its memory is bounded. */
export class Part {
  readonly name: PartName
  #text = ''
  /** Where `#text` begins in the part. */
  #start = 0

  constructor(name: PartName) {
    this.name = name
  }

  /** How long it is so far, without the first half of a character. */
  get end(): number {
    const isHalf = (this.#text.charCodeAt(this.#text.length - 1) & 0xfc00) === 0xd800
    return this.#start + this.#text.length - Number(isHalf)
  }

  add(text: string): void {
    this.#text += text
    // It is cut rarely, because a cut copies what stays.
    if (this.#text.length <= 2 * MAX_PART_CHARS) return
    this.#start += this.#text.length - MAX_PART_CHARS
    this.#text = this.#text.slice(-MAX_PART_CHARS)
  }

  /** What is kept after a place, and where that begins: later, if the text at this place was dropped. */
  from(place: number): { readonly offset: number; readonly text: string } {
    const offset = Math.max(place, this.#start)
    return { offset, text: this.#text.slice(offset - this.#start, this.end - this.#start) }
  }
}

/** One request to the model, one call of a tool, or one check of the goal, while it is under way. */
export type AttemptOf = {
  readonly runId: string
  readonly goal: string
  readonly iteration: number
  /** The seq of the last record before it. No other attempt of the run has the same. */
  readonly seq: number
}

/** How an attempt ended: the record with this seq or one before it replaces its parts, or nothing does. */
type Outcome = { readonly recordedUpTo: number } | 'withdrawn'

type Open = { readonly part: Part; readonly mask: (piece: string) => string }

/** The parts of an attempt, as its worker adds to them and as observers read them. */
export class Attempt {
  readonly of: AttemptOf
  /** Counts the attempts of this process. */
  readonly number: number
  readonly #mask: Mask
  readonly #onChange: (isFirst: boolean) => void
  readonly #parts = new Map<string, Open>()
  #outcome: Outcome | null = null

  constructor(
    of: AttemptOf,
    number: number,
    { mask, onChange }: { readonly mask: Mask; readonly onChange: (isFirst: boolean) => void },
  ) {
    this.of = of
    this.number = number
    this.#mask = mask
    this.#onChange = onChange
  }

  /** Null while it is under way. */
  get outcome(): Outcome | null {
    return this.#outcome
  }

  *parts(): Generator<Part> {
    for (const { part } of this.#parts.values()) yield part
  }

  /** Adds text. What may be the beginning of a secret is held back until more of it comes. */
  write(name: PartName, text: string): void {
    if (this.#outcome !== null) return
    const key = JSON.stringify(name)
    const known = this.#parts.get(key)
    if (known === undefined && this.#parts.size === MAX_PARTS) return
    const { part, mask } = known ?? this.#open(name)
    this.#parts.set(key, { part, mask })
    const masked = mask(text)
    part.add(masked)
    if (known === undefined) this.#onChange(this.#parts.size === 1)
    else if (masked !== '') this.#onChange(false)
  }

  /** Ends it. Text that comes later is ignored. */
  end(outcome: Outcome): void {
    if (this.#outcome !== null) return
    this.#outcome = outcome
    this.#onChange(false)
  }

  #open(name: PartName): Open {
    const pieces = this.#mask.pieces()
    const plain = name.of === 'arguments' ? plainEscapes() : (piece: string) => piece
    return { part: new Part(name), mask: (piece) => pieces.write(plain(piece)) }
  }
}

/** An escape of JSON; at the end of a piece, perhaps only its beginning. */
const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|(u[0-9a-fA-F]{0,3}|)$|[^u]|u)/g

/**
 * Resolves those escapes in a JSON text that hide ordinary characters, so that a secret that is written with them is
 * recognized. The text stays JSON with the same value. It comes in pieces; an escape may come in two.
 */
export function plainEscapes(): (piece: string) => string {
  let held = ''
  return (piece) => {
    const text = held + piece
    held = ''
    return text.replace(ESCAPE, (found, code?: string, cut?: string) => {
      if (cut !== undefined) {
        held = found
        return ''
      }
      if (found === '\\/') return '/'
      const plain = code === undefined ? '' : String.fromCharCode(Number.parseInt(code, 16))
      return /^[ !#-[\]-~]$/.test(plain) ? plain : found
    })
  }
}
