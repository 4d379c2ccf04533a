import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { retrai } from './support.ts'

const run = promisify(execFile)

test.each([
  ['wit', 1, 'retrai wit', 'witness'],
  ['an option', 2, 'retrai runs --ta', '--tag'],
  ['below a command', 2, 'retrai token cr', 'create'],
  ['an argument', 2, 'retrai completions z', 'zsh'],
])('bash completes %s', async (_, at, line, completed) => {
  const { stdout: script } = await retrai(['completions', 'bash'])
  const ask = `COMP_WORDS=(${line}) COMP_CWORD=${at}; _retrai; echo "\${COMPREPLY[@]}"`
  const { stdout } = await run('bash', ['-c', `${script}\n${ask}`])
  expect(stdout).toBe(`${completed}\n`)
})

test('a shell that it does not know is refused', async () => {
  const { code, stderr } = await retrai(['completions', 'csh'])
  expect(code).toBe(3)
  expect(stderr).toContain('bash, zsh, fish')
})
