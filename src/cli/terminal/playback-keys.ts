import { emitKeypressEvents, type Key } from 'node:readline'
import { oneLine } from './plain-text.ts'
import type { Playback, Target } from './playback.ts'
import { say } from './print.ts'

export const KEYS_HELP =
  'space: pause or go on · →: next record · + and -: faster, slower · g: jump · q: quit'

/** Takes keys from the terminal, where Ctrl+C is one. @returns what gives the terminal back */
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
    playback.do({ type: 'pause_or_go_on' })
    say(playback.paused ? `Paused. ${KEYS_HELP}` : 'Going on.')
  } else if (name === 'right') playback.do({ type: 'step' })
  else if (name === 'q') quit()
  else if (name === 'g') ask()
  else if (text === '+' || text === '-') {
    playback.do({ type: text === '+' ? 'faster' : 'slower' })
    say(`Speed ${playback.speed}.`)
  }
}

/** `12` is a seq, `i3` an iteration; null for anything else. */
export function readTarget(text: string): Target | null {
  const [, iteration, number] = /^(i?) *(\d{1,9})$/i.exec(text.trim()) ?? []
  if (number === undefined) return null
  return iteration === '' ? { seq: Number(number) } : { iteration: Number(number) }
}
