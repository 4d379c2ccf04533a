import { chmod, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isMissing } from '../../support/missing.ts'
import { projectWith } from './support.ts'

describe('bash_exec', () => {
  test('returns the output of both streams, and the exit code', async () => {
    const { run } = await projectWith({ 'a.txt': 'hello\n' })
    const ok = await run('bash_exec', { command: 'cat a.txt && [[ -f a.txt ]] && pwd | wc -l' })
    expect(ok).toMatchObject({ outcome: 'ok', exit_code: 0, output: 'hello\n1\n' })
    const bad = await run('bash_exec', { command: 'echo no >&2; exit 7' })
    expect(bad).toMatchObject({ outcome: 'error', exit_code: 7, output: 'no\n' })
  })

  test('keeps less of the output if the command failed, from its beginning and its end', async () => {
    const { run } = await projectWith()
    const failed = await run('bash_exec', { command: 'seq 1 4000; exit 3' })
    expect(failed).toMatchObject({ outcome: 'error', truncated: true })
    expect(Buffer.byteLength(failed.output)).toBeLessThanOrEqual(10_240)
    expect(failed.output).toMatch(/^1\n2\n.*\n3999\n4000\n$/s)
    const done = await run('bash_exec', { command: 'seq 1 4000' })
    expect(done).toMatchObject({ outcome: 'ok', truncated: false })
  })

  test('names the tool that some models take for a command', async () => {
    const { run } = await projectWith()
    const result = await run('bash_exec', { command: "apply_patch <<'EOF'\nEOF" })
    expect(result).toMatchObject({ exit_code: 127 })
    expect(result.output).toMatch(/\[apply_patch is a tool of yours/)
  })

  test('stops at its time limit, with a note after the output', async () => {
    const { run } = await projectWith()
    const result = await run('bash_exec', { command: 'printf begun; sleep 1000', timeout_s: 0.3 })
    expect(result).toMatchObject({ outcome: 'timed_out', exit_code: null })
    expect(result.output).toMatch(
      /^begun\n\[stopped at its time limit of 0.3 s, with all its processes\. .*process_start.*timeout_s.*\]$/,
    )
  })

  test.skipIf(isMissing('python3'))('shows what a killed Python had printed', async () => {
    const { run } = await projectWith()
    const command = 'python3 -c "import os; print(1); os.kill(os.getpid(), 9)"'
    expect((await run('bash_exec', { command })).output).toMatch(/^1$/m)
  })
})

describe('run_pytest', () => {
  test.each(['.venv', 'venv'])(
    'runs the Python of %s with each argument as it is',
    async (folder) => {
      const python = `${folder}/bin/python`
      const { cwd, run } = await projectWith({
        [python]: '#!/bin/sh\nprintf "<%s>" "$@"; exit 1\n',
      })
      await chmod(join(cwd, python), 0o755)
      const result = await run('run_pytest', { args: ['-k', 'a and b', '$HOME'] })
      const output = '<-m><pytest><--color=no><-k><a and b><$HOME>'
      expect(result).toMatchObject({ outcome: 'error', exit_code: 1, output })
    },
  )
})

describe.skipIf(isMissing('pytest'))('run_pytest with a real pytest', () => {
  test('reports what failed, and leaves no compiled files behind', async () => {
    const test = 'def test_good():\n    pass\n\ndef test_bad():\n    assert 1 == 2\n'
    const { cwd, run } = await projectWith({ 'test_a.py': test })
    const all = await run('run_pytest')
    expect(all).toMatchObject({ outcome: 'error', exit_code: 1 })
    expect(all.output).toContain('1 failed, 1 passed')
    const good = await run('run_pytest', { args: ['test_a.py::test_good'] })
    expect(good).toMatchObject({ outcome: 'ok', exit_code: 0 })
    await expect(stat(join(cwd, '__pycache__'))).rejects.toThrow('ENOENT')
  })
})
