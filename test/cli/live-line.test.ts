import { randomUUID } from 'node:crypto'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { LiveLine } from '../../src/cli/commands/watch.ts'
import type { AgentEvent, Part } from '../../src/client/index.ts'

const run_id = randomUUID()
const part = (text: string, changes: object = {}) =>
  ({
    kind: 'part',
    run_id,
    iteration: 2,
    attempt: 4,
    of: 'text',
    offset: 0,
    text,
    partial: true,
    ...changes,
  }) as Part
const record = { kind: 'step_start', run_id, seq: 5 } as AgentEvent

/** A terminal that shows what was written since its line was erased. */
class Screen {
  readonly columns = 60
  #written = ''

  readonly write = (text: string): boolean => {
    this.#written += text
    return true
  }

  get line(): string {
    return stripVTControlCharacters(this.#written.split('\r\x1b[K').at(-1) ?? '')
  }
}

function screen() {
  const terminal = new Screen()
  return { terminal, live: new LiveLine(terminal) }
}

describe('text that is being written, at a terminal', () => {
  test('is shown by its end until its record replaces it', () => {
    const { terminal, live } = screen()
    live.see(part('one\ntwo\n'))
    expect(terminal.line).toBe('   …  it 2  text               two')
    live.see(part('3\n4'.padEnd(200, '-'), { offset: 8 }))
    expect(terminal.line).toMatch(/ -+$/)
    expect(terminal.line).toHaveLength(60)
    live.see(record)
    expect(terminal.line).toBe('')
  })

  test('cannot move the cursor, and shows the present state of a progress bar', () => {
    const { terminal, live } = screen()
    live.see(part('\x1b[2Ja\x07b'))
    expect(terminal.line).toMatch(/ a b$/)
    live.see(part('10 %\r20 %\r30 %', { of: 'output', call_id: 'c' }))
    expect(terminal.line).toMatch(/output +30 %$/)
  })

  test('disappears with its attempt, or when something else is printed', () => {
    const { terminal, live } = screen()
    live.see(part('one'))
    live.clear()
    expect(terminal.line).toBe('')
    live.see(part('two', { offset: 3 }))
    live.see({ kind: 'parts_end', run_id, attempt: 4, outcome: 'withdrawn' })
    expect(terminal.line).toBe('')
  })
})
