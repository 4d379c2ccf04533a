import { randomUUID } from 'node:crypto'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { LiveBlock } from '../../src/cli/terminal/watch-events.ts'
import type { AgentEvent, Part } from '../../src/client/index.ts'

const run_id = randomUUID()
const part = (text: string, changes: object = {}) =>
  ({
    ...{
      kind: 'part',
      run_id,
      iteration: 2,
      attempt: 4,
      of: 'text',
      offset: 0,
      text,
      partial: true,
    },
    ...changes,
  }) as Part
const record = { kind: 'step_start', run_id, seq: 5 } as AgentEvent

/** A terminal that knows only what the block uses: line feeds, and "erase from n lines above". */
class Screen {
  readonly columns = 60
  lines = ['']

  readonly write = (text: string): boolean => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of a terminal
    for (const piece of text.split(/(?=\x1b\[\d+F)/)) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of a terminal
      const [erase, up] = /^\x1b\[(\d+)F\x1b\[0J/.exec(piece) ?? ['', '0']
      if (erase !== '') this.lines = [...this.lines.slice(0, -1 - Number(up)), '']
      const [first = '', ...more] = stripVTControlCharacters(piece.slice(erase.length)).split('\n')
      this.lines = [...this.lines.slice(0, -1), `${this.lines.at(-1)}${first}`, ...more]
    }
    return true
  }
}

describe('text that is being written, at a terminal', () => {
  test('is shown by its last lines until its record replaces it', () => {
    const screen = new Screen()
    const block = new LiveBlock(screen)
    screen.write('record 4\n')
    block.see(part('one\ntwo\n'))
    expect(screen.lines).toEqual([
      'record 4',
      '   …  it 2  text               one',
      '                               two',
      '',
    ])
    block.see(part('3\n4\n5\n6\n7\n', { offset: 8 }))
    expect(screen.lines).toHaveLength(7)
    expect(screen.lines.at(-2)).toMatch(/ 7$/)
    block.see(record)
    expect(screen.lines).toEqual(['record 4', ''])
  })

  test('cannot move the cursor, and does not wrap', () => {
    const screen = new Screen()
    new LiveBlock(screen).see(part('\x1b[2Ja\x07b \u6f22'.padEnd(200, '\u6f22')))
    expect(screen.lines).toHaveLength(2)
    expect(screen.lines[0]?.length).toBeLessThan(60)
    expect(screen.lines[0]).toContain('a b')
  })

  test('shows the present state of a progress bar', () => {
    const screen = new Screen()
    new LiveBlock(screen).see(part('10 %\r20 %\r30 %', { of: 'output', call_id: 'c' }))
    expect(screen.lines[0]).toMatch(/output +30 %$/)
  })

  test('disappears with its attempt, or when something else is printed', () => {
    const screen = new Screen()
    const block = new LiveBlock(screen)
    block.see(part('one'))
    block.clear()
    block.clear()
    expect(screen.lines).toEqual([''])
    block.see(part('one'))
    block.see({ kind: 'parts_end', run_id, attempt: 4, outcome: 'withdrawn' })
    expect(screen.lines).toEqual([''])
  })
})
