import { emitKeypressEvents, type Key } from 'node:readline'
import type { AgentEvent } from '../../client/index.ts'
import { sleep } from '../../lib/backoff.ts'
import { oneLine } from './plain-text.ts'
import { say } from './print.ts'

/** Where to continue: at a record, or at the first record of an iteration. */
export type Target = { readonly seq: number } | { readonly iteration: number }

/** What a person can do during the playback. */
export type PlaybackCommand =
  | { readonly type: 'pause_or_continue' }
  /** Shows the next record and pauses. */
  | { readonly type: 'step' }
  | { readonly type: 'faster' }
  | { readonly type: 'slower' }
  | { readonly type: 'jump'; readonly target: Target }
  | { readonly type: 'quit' }

type PlaybackOptions = {
  /** The records after a seq, in order. */
  readonly open: (after: number) => AsyncIterable<AgentEvent>
  readonly show: (event: AgentEvent) => Promise<void>
  /** Whether a record is shown. */
  readonly wanted: (event: AgentEvent) => boolean
  /** Called after a jump beyond the end of the run. The playback pauses where it was. */
  readonly beyond?: (target: Target) => void
  /** 1 is the original speed; `Infinity` does not wait. */
  readonly speed: number
  /** Waits `ms` milliseconds, or until the signal aborts. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>
}

const FASTEST = 1024
const SLOWEST = 1 / 16

/** Shows records with their original pauses. */
export class Playback {
  readonly #options: PlaybackOptions
  readonly #wait: (ms: number, signal: AbortSignal) => Promise<void>
  #speed: number
  #paused = false
  /** How many of the next records are shown without waiting. */
  #steps = 0
  #target: Target | null = null
  /** The seq of the last record that was shown. */
  #last: number | null = null
  #quit = false
  #interrupt = new AbortController()

  constructor(options: PlaybackOptions) {
    this.#options = options
    this.#speed = options.speed
    this.#wait = options.wait ?? interruptible
  }

  get paused(): boolean {
    return this.#paused
  }

  get speed(): number {
    return this.#speed
  }

  do(command: PlaybackCommand): void {
    switch (command.type) {
      case 'pause_or_continue':
        this.#paused = !this.#paused
        break
      case 'step':
        this.#paused = true
        this.#steps += 1
        break
      case 'faster':
        this.#speed = Math.min(FASTEST, this.#speed * 2)
        break
      case 'slower':
        this.#speed = Math.max(SLOWEST, Math.min(FASTEST, this.#speed) / 2)
        break
      case 'jump':
        this.#target = command.target
        break
      case 'quit':
        this.#quit = true
        break
    }
    this.#interrupt.abort()
    this.#interrupt = new AbortController()
  }

  /** Resolves at the end of the records, or when a person quits. */
  async play(from: Target): Promise<void> {
    this.#target = from
    while (this.#target !== null && !this.#quit) {
      const target: Target = this.#target
      this.#target = null
      this.#steps = Math.max(this.#steps, 1)
      await this.#playFrom(target)
    }
  }

  async #playFrom(target: Target): Promise<void> {
    let shown: number | null = null
    let reached = false
    for await (const event of this.#options.open('seq' in target ? target.seq - 1 : -1)) {
      if (this.#left) return
      if ('iteration' in target && event.iteration < target.iteration) continue
      reached = true
      if (!this.#options.wanted(event)) continue
      await this.#due(shown === null ? 0 : Math.max(0, event.ts - shown) * 1000)
      if (this.#left) return
      await this.#options.show(event)
      shown = event.ts
      this.#last = event.seq
    }
    if (reached || this.#left || this.#last === null) return
    this.#options.beyond?.(target)
    this.#paused = true
    this.#target = { seq: this.#last }
  }

  get #left(): boolean {
    return this.#quit || this.#target !== null
  }

  /** Waits until the next record is due at the current speed. A step ends the wait, a pause prolongs it. */
  async #due(ms: number): Promise<void> {
    let remaining = ms
    while (!this.#left) {
      if (this.#steps > 0) {
        this.#steps -= 1
        return
      }
      if (!this.#paused && (remaining <= 0 || this.#speed === Number.POSITIVE_INFINITY)) return
      const { signal } = this.#interrupt
      const [speed, start] = [this.#paused ? 0 : this.#speed, performance.now()]
      await this.#wait(speed === 0 ? Number.POSITIVE_INFINITY : remaining / speed, signal)
      if (!signal.aborted) return
      remaining -= (performance.now() - start) * speed
    }
  }
}

/** The longest wait of a timer, milliseconds. */
const LONGEST_MS = 2 ** 31 - 1

async function interruptible(ms: number, signal: AbortSignal): Promise<void> {
  for (let left = ms; left > 0; left -= LONGEST_MS) {
    if (!(await sleep(Math.min(left, LONGEST_MS), signal))) return
  }
}

export const KEYS_HELP =
  'space: pause or continue · →: next record · + and -: faster, slower · g: jump · q: quit'

/** Reads keys from the terminal, Ctrl+C among them. @returns a function that releases the terminal */
export function takeKeys(playback: Playback, quit: () => void): () => void {
  const { stdin } = process
  let asked: string | null = null
  const ask = (text: string | null): void => {
    asked = text
    const prompt = `\r\x1b[KJump to seq, or i and an iteration: ${oneLine(text ?? '')}`
    process.stderr.write(text === null ? '\r\x1b[K' : prompt)
  }
  const answer = (text: string, { name }: Key, typed: string): void => {
    if (name === 'backspace') ask(text.slice(0, -1))
    else if (name !== 'return' && name !== 'escape') ask(text + typed)
    else {
      ask(null)
      const target = name === 'return' ? readTarget(text) : null
      if (target !== null) playback.do({ type: 'jump', target })
      else if (name === 'return')
        say(`"${text}" is neither a seq, such as 12, nor an iteration, such as i3.`)
    }
  }
  const listen = (typed: string | undefined, key: Key): void => {
    if (key.ctrl === true && key.name === 'c') quit()
    else if (asked !== null) answer(asked, key, typed ?? '')
    else press(playback, typed, key, { ask: () => ask(''), quit })
  }
  emitKeypressEvents(stdin)
  stdin.setRawMode(true)
  stdin.on('keypress', listen)
  stdin.resume()
  return () => {
    stdin.removeListener('keypress', listen)
    stdin.setRawMode(false)
    stdin.pause()
  }
}

function press(
  playback: Playback,
  text: string | undefined,
  { name }: Key,
  { ask, quit }: { readonly ask: () => void; readonly quit: () => void },
): void {
  if (name === 'space') {
    playback.do({ type: 'pause_or_continue' })
    say(playback.paused ? `Paused. ${KEYS_HELP}` : 'Continuing.')
  } else if (name === 'right') playback.do({ type: 'step' })
  else if (name === 'q') quit()
  else if (name === 'g') ask()
  else if (text === '+' || text === '-') {
    playback.do({ type: text === '+' ? 'faster' : 'slower' })
    say(`Speed ${playback.speed}.`)
  }
}

/** Parses a seq such as `12` or an iteration such as `i3`; null for anything else. */
export function readTarget(text: string): Target | null {
  const [, iteration, number] = /^(i?) *(\d{1,9})$/i.exec(text.trim()) ?? []
  if (number === undefined) return null
  return iteration === '' ? { seq: Number(number) } : { iteration: Number(number) }
}
