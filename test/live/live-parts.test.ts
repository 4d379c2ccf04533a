import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Attempt, MAX_PART_CHARS, type PartName, plainEscapes } from '../../src/live/live-parts.ts'
import { createMask } from '../../src/masking/mask.ts'

import { FAKES } from '../masking/fakes.ts'

const secret = 'hunter2-hunter2'
const mask = createMask([{ name: 'password', value: secret }])
const TEXT: PartName = { of: 'text' }
const ARGUMENTS: PartName = { of: 'arguments', call: 0, tool: 'bash_exec' }

function attempt(onChange: (isFirst: boolean) => void = () => {}): Attempt {
  const of = { runId: 'run', goal: 'pytest', iteration: 1, seq: 4 }
  return new Attempt(of, 1, { mask, onChange })
}

/** What observers have seen of the only part after each of these pieces. */
function shownAfterEach(name: PartName, pieces: readonly string[]): string[] {
  const written = attempt()
  return pieces.map((piece) => {
    written.write(name, piece)
    return [...written.parts()].map((part) => part.from(0).text).join()
  })
}

const cutAt = (text: string, at: number): [string, string] => [text.slice(0, at), text.slice(at)]

describe('a secret in a part', () => {
  const secrets = [secret, ...Object.values(FAKES).flatMap((fakes) => fakes.slice(0, 1))]

  test.each(secrets)('%s is never shown, wherever it is cut', (value) => {
    const text = `before ${value}\nafter`
    const [whole = ''] = shownAfterEach(TEXT, [text])
    for (let at = 0; at <= text.length; at += 1) {
      const [half = '', both = ''] = shownAfterEach(TEXT, cutAt(text, at))
      expect(both).toBe(whole)
      expect(whole.startsWith(half)).toBe(true)
    }
    expect(whole).toContain('[masked:')
  })

  test('is masked if its characters are written as escapes of JSON', () => {
    const escaped = [...secret].map((char) => `\\u00${char.charCodeAt(0).toString(16)}`).join('')
    const text = `{"command":"echo ${escaped}"}`
    for (let at = 0; at <= text.length; at += 1) {
      const shown = shownAfterEach(ARGUMENTS, cutAt(text, at)).at(-1) ?? ''
      expect(JSON.parse(shown)).toEqual({ command: 'echo [masked:password]' })
    }
  })

  test('is masked in the name that a model gives a tool', () => {
    const written = attempt()
    written.write({ ...ARGUMENTS, tool: secret }, '{}')
    const [part] = written.parts()
    expect(part?.name).toEqual({ ...ARGUMENTS, tool: '[masked:password]' })
  })
})

test('JSON without its plain escapes has the same value, wherever it is cut', () => {
  fc.assert(
    fc.property(fc.json(), fc.array(fc.nat(200)), (json, cuts) => {
      const escaped = json.replace(/[a-z](?![^"\\]*\\)/g, (char) =>
        cuts.length % 2 === 0 ? char : `\\u00${char.charCodeAt(0).toString(16)}`,
      )
      fc.pre(isJson(escaped))
      const write = plainEscapes()
      const places = [0, ...cuts.toSorted((a, b) => a - b), escaped.length]
      const plain = places.slice(1).map((end, at) => write(escaped.slice(places[at], end)))
      expect(JSON.parse(plain.join(''))).toEqual(JSON.parse(escaped))
    }),
  )
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

test('of a long part, the end is kept, with its place', () => {
  const written = attempt()
  const line = `${'x'.repeat(99)}\n`
  for (let count = 0; count < 10_000; count += 1) written.write(TEXT, line)
  written.write(TEXT, 'the end\n')
  const [part] = [...written.parts()]
  const { offset, text } = part?.from(0) ?? { offset: 0, text: '' }
  expect(offset + text.length).toBe(1_000_008)
  expect(text.length).toBeGreaterThanOrEqual(MAX_PART_CHARS)
  expect(text.length).toBeLessThanOrEqual(2 * MAX_PART_CHARS)
  expect(text.endsWith('the end\n')).toBe(true)
  expect(part?.from(1_000_003)).toEqual({ offset: 1_000_003, text: ' end\n' })
})

test('a reply with very many calls costs bounded memory', () => {
  const written = attempt()
  for (let call = 0; call < 1_000; call += 1) {
    written.write({ of: 'arguments', call, tool: 'file_read' }, '{}')
  }
  expect([...written.parts()].length).toBeLessThan(50)
})

test('no half of a character is shown', () => {
  expect(shownAfterEach(TEXT, ['a\n\ud83d', '\ude00\n'])).toEqual(['a\n', 'a\n\u{1f600}\n'])
})

test('text that comes after the end of an attempt is ignored', () => {
  const changes: boolean[] = []
  const written = attempt((isFirst) => changes.push(isFirst))
  written.write(TEXT, 'one\n')
  written.end({ recordedUpTo: 7 })
  written.write(TEXT, ' two')
  written.end('withdrawn')
  expect([...written.parts()].map((part) => part.from(0).text)).toEqual(['one\n'])
  expect(written.outcome).toEqual({ recordedUpTo: 7 })
  expect(changes).toEqual([true, false])
})
