import type { Mask } from '../masking/mask.ts'

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
  readonly #mask: (piece: string) => string
  #text = ''
  /** Where `#text` begins in the part. */
  #start = 0

  constructor(name: PartName, mask: Mask) {
    this.name = JSON.parse(mask.text(JSON.stringify(name)))
    const pieces = mask.pieces()
    const plain = name.of === 'arguments' ? plainEscapes() : (piece: string) => piece
    this.#mask = (piece) => pieces.write(plain(piece))
  }

  /** How long it is so far, without the first half of a character. */
  get end(): number {
    const isHalf = (this.#text.charCodeAt(this.#text.length - 1) & 0xfc00) === 0xd800
    return this.#start + this.#text.length - Number(isHalf)
  }

  /** False if nothing can be shown of it yet: it may be the beginning of a secret. */
  add(text: string): boolean {
    const masked = this.#mask(text)
    this.#text += masked
    // It is cut rarely, because a cut copies what stays.
    if (this.#text.length > 2 * MAX_PART_CHARS) {
      this.#start += this.#text.length - MAX_PART_CHARS
      this.#text = this.#text.slice(-MAX_PART_CHARS)
    }
    return masked !== ''
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

/** The parts of an attempt, as its worker adds to them and as observers read them. */
export class Attempt {
  readonly of: AttemptOf
  /** Counts the attempts of this process. */
  readonly number: number
  /** Null while it is under way. */
  outcome: Outcome | null = null
  readonly #mask: Mask
  readonly #onChange: (isFirst: boolean) => void
  readonly #parts = new Map<string, Part>()

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

  parts(): Iterable<Part> {
    return this.#parts.values()
  }

  /** Adds text. What may be the beginning of a secret is held back until more of it comes. */
  write(name: PartName, text: string): void {
    if (this.outcome !== null) return
    const key = JSON.stringify(name)
    const known = this.#parts.get(key)
    if (known === undefined && this.#parts.size === MAX_PARTS) return
    const part = known ?? new Part(name, this.#mask)
    this.#parts.set(key, part)
    const isShown = part.add(text)
    if (known === undefined) this.#onChange(this.#parts.size === 1)
    else if (isShown) this.#onChange(false)
  }

  /** Ends it. Text that comes later is ignored. */
  end(outcome: Outcome): void {
    if (this.outcome !== null) return
    this.outcome = outcome
    this.#onChange(false)
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

export type PartsListener = {
  /** The run that it observes; null for all. */
  readonly runId: string | null
  /** Something may be new. Must not throw. */
  onParts(): void
}

/** Observers get what is new at most this often, milliseconds. */
const PACE_MS = 40
/** After delivering parts for some time, this process does other work for this many times as long: records come first. */
const REST = 10
const MAX_PAUSE_MS = 500

/**
 * What runs write before it is recorded: the parts of replies and of the output of commands. They are in the memory of
 * the process that works on the run and nowhere else, so only its observers get them. An observer reads from its own
 * place in each part: one that joins late gets a part so far at once, and one that is slow gets fewer and larger pieces.
 */
export class LiveParts {
  readonly #mask: Mask
  readonly #underWay = new Map<string, Set<Attempt>>()
  readonly #listeners = new Map<string | null, Set<PartsListener>>()
  readonly #changed = new Set<string>()
  /** How many attempts have begun. Later ones have higher numbers. */
  begun = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  /** A time of `performance.now`: observers get nothing before it. */
  #notBefore = 0

  constructor(mask: Mask) {
    this.#mask = mask
  }

  /** Begins an attempt. The caller must end it. */
  begin(of: AttemptOf): Attempt {
    this.begun += 1
    const attempt: Attempt = new Attempt(of, this.begun, {
      mask: this.#mask,
      onChange: (isFirst) => {
        if (attempt.outcome !== null) this.#remove(attempt)
        this.#change(of.runId, isFirst)
      },
    })
    const ofRun = this.#underWay.get(of.runId) ?? new Set()
    this.#underWay.set(of.runId, ofRun.add(attempt))
    return attempt
  }

  /** The attempts under way, of one run or of all (null). */
  *underWay(runId: string | null): Generator<Attempt> {
    if (runId !== null) yield* this.#underWay.get(runId) ?? []
    else for (const attempts of this.#underWay.values()) yield* attempts
  }

  /** Withdraws what is under way of a run, because a text of the run was redacted that may be in it. */
  forget(runId: string): void {
    for (const attempt of this.underWay(runId)) attempt.end('withdrawn')
  }

  join(listener: PartsListener): void {
    const { runId } = listener
    const others = this.#listeners.get(runId) ?? new Set()
    this.#listeners.set(runId, others.add(listener))
  }

  leave(listener: PartsListener): void {
    const { runId } = listener
    const others = this.#listeners.get(runId)
    others?.delete(listener)
    if (others?.size === 0) this.#listeners.delete(runId)
  }

  #remove(attempt: Attempt): void {
    const { runId } = attempt.of
    const ofRun = this.#underWay.get(runId)
    ofRun?.delete(attempt)
    if (ofRun?.size === 0) this.#underWay.delete(runId)
  }

  /** @param isUrgent the first part of an attempt does not wait */
  #change(runId: string, isUrgent: boolean): void {
    if (!this.#listeners.has(runId) && !this.#listeners.has(null)) return
    this.#changed.add(runId)
    if (this.#timer !== null && !isUrgent) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    const pauseMs = isUrgent ? 0 : Math.max(0, this.#notBefore - performance.now())
    this.#timer = setTimeout(() => this.#deliver(), pauseMs).unref()
  }

  #deliver(): void {
    this.#timer = null
    const began = performance.now()
    for (const runId of this.#changed) {
      for (const listener of this.#listeners.get(runId) ?? []) listener.onParts()
    }
    this.#changed.clear()
    for (const listener of this.#listeners.get(null) ?? []) listener.onParts()
    const now = performance.now()
    this.#notBefore = now + Math.min(MAX_PAUSE_MS, Math.max(PACE_MS, REST * (now - began)))
  }
}
