import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { commandScript } from '../../src/sandbox/container-shell.ts'
import { temporaryFolder } from '../runner/support.ts'

const word = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => text.replaceAll('\0', '')),
  fc
    .array(fc.constantFrom("'", '"', '$', '`', '\\', '\n', ' ', '#', '*', '-', '$(id)', 'é'))
    .map((parts) => parts.join('')),
)

test('a shell reads every command as it was written', async () => {
  const script = join(await temporaryFolder(), 'script')
  fc.assert(
    fc.property(word, word, fc.array(word, { maxLength: 4 }), (cwd, file, args) => {
      writeFileSync(script, commandScript({ cwd, file, args, processes: 2, reports: true }))
      const print = `. "${script}"; for one; do printf '%s\\0' "$one"; done`
      const { stdout } = spawnSync('/bin/sh', ['-c', print], { encoding: 'utf8' })
      expect(stdout.split('\0').slice(0, -1)).toEqual([cwd, '16', 'yes', file, ...args])
    }),
  )
})

test('a command with a NUL is not started', () => {
  const command = { cwd: '/', file: 'echo', args: ['a\0b'], processes: 1 }
  expect(() => commandScript(command)).toThrow('it contains a NUL')
})
