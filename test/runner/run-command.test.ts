import { getEventListeners } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import type { Command, CommandResult } from '../../src/runner/command.ts'
import { GRACE_MS } from '../../src/runner/program/run-to-end.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { expectAllDead, pidsIn, temporaryFolder } from './support.ts'

const AMPLE_MS = 50_000
const LONG = 'x'.repeat(131_072)
const onLinux = process.platform === 'linux'

function bash(cwd: string, script: string, options: Partial<Command> = {}): Promise<CommandResult> {
  const { signal } = new AbortController()
  const args = ['-c', script]
  return runCommand({ file: 'bash', args, cwd, timeoutMs: AMPLE_MS, signal, ...options })
}

describe('a command that ends by itself', () => {
  test('returns both streams, separate and together, the exit code and the bytes', async () => {
    const result = await bash(await temporaryFolder(), 'echo out; sleep 0.1; echo bad >&2; exit 3')
    expect(result).toEqual({
      end: 'exited',
      exitCode: 3,
      stdout: 'out\n',
      stderr: 'bad\n',
      output: 'out\nbad\n',
      bytes: 8,
      durationMs: expect.any(Number),
      policy: expect.objectContaining({ level: 'none', network: 'host' }),
    })
    expect(result.durationMs).toBeGreaterThan(0)
  })

  test('reads an empty standard input', async () => {
    expect(await bash(await temporaryFolder(), 'cat; echo done')).toMatchObject({
      end: 'exited',
      stdout: 'done\n',
    })
  })

  test('leaves no listener on the signal of its run', async () => {
    const { signal } = new AbortController()
    await bash(await temporaryFolder(), 'true', { signal })
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

describe('a command that cannot be started', () => {
  test.each<[string, Partial<Command>, CommandResult['end'], string]>([
    ['no such program', { file: 'no-such-program-anywhere' }, 'not_found', 'no-such-program-anyw'],
    ['no folder', { cwd: '/no/such/folder' }, 'not_started', 'there is no folder /no/such/folder'],
    ['a NUL character in an argument', { args: ['a\0b'] }, 'not_started', 'NUL|null bytes'],
    ['a longer argument than the system passes', { args: [LONG] }, 'not_started', 'spawn E2BIG'],
    ['no name', { file: '' }, 'not_started', '.'],
    ['a file that is not a program', { file: '/etc/passwd' }, 'not_started', '.'],
  ])('is not started with %s', async (_, options, end, why) => {
    const result = await bash(await temporaryFolder(), '', options)
    expect(result).toMatchObject({ end, exitCode: null, output: expect.stringMatching(why) })
  })

  test('is not started if its run is aborted already', async () => {
    const cwd = await temporaryFolder()
    const result = await bash(cwd, 'touch started', { signal: AbortSignal.abort() })
    expect(result).toMatchObject({ end: 'aborted', exitCode: null, bytes: 0 })
    await expect(readFile(join(cwd, 'started'))).rejects.toThrow('ENOENT')
  })
})

describe('a command that is stopped', () => {
  test('ends at its time limit and keeps what it wrote', async () => {
    const result = await bash(await temporaryFolder(), 'echo begun; sleep 1000', { timeoutMs: 300 })
    expect(result).toMatchObject({ end: 'timed_out', exitCode: null, stdout: 'begun\n' })
  })

  test('may clean up before it is killed', async () => {
    const cwd = await temporaryFolder()
    const script =
      'trap "sleep 0.05; echo tidy > cleaned; exit 0" TERM; while :; do sleep 0.05; done'
    expect(await bash(cwd, script, { timeoutMs: 300 })).toMatchObject({ end: 'timed_out' })
    expect(await readFile(join(cwd, 'cleaned'), 'utf8')).toBe('tidy\n')
  })

  test('gets less than a second more if it ignores SIGTERM', async () => {
    expect(GRACE_MS).toBeLessThan(1000)
    const cwd = await temporaryFolder()
    const script = 'trap "" TERM; echo $$ > pids; while :; do echo tick >> ticks; sleep 0.05; done'
    const run = new AbortController()
    const result = bash(cwd, script, { signal: run.signal })
    const pids = await pidsIn(join(cwd, 'pids'), 1)
    const ticks = async () => (await readFile(join(cwd, 'ticks'), 'utf8')).split('\n').length
    await vi.waitFor(ticks, 60_000)
    const before = await ticks()
    run.abort()
    await result
    // The command counts by itself, because a busy machine slows down both.
    expect((await ticks()) - before).toBeLessThan(1000 / 50)
    await expectAllDead(pids)
  })

  const stubborn = 'bash -c \'echo $$ >> pids; trap "" TERM; sleep 1000; :\''
  const inner = `${stubborn} & `.replaceAll("'", `'\\''`)
  test.each([
    ['its children and grandchildren', `bash -c 'echo $$ >> pids; ${inner} wait' & wait`, 3],
    ...(onLinux
      ? ([['what left its process group', `(setsid ${stubborn} & ) ; sleep 1000; :`, 2]] as const)
      : []),
  ] as const)('ends with %s', async (_, script, count) => {
    const cwd = await temporaryFolder()
    const run = new AbortController()
    const result = bash(cwd, `echo $$ >> pids; ${script}`, { signal: run.signal })
    const pids = await pidsIn(join(cwd, 'pids'), count)
    run.abort()
    expect(await result).toMatchObject({ end: 'aborted' })
    await expectAllDead(pids)
  })
})

describe('a process that a command leaves in the background', () => {
  const waits = 'until [ -s pids ]; do sleep 0.01; done; echo done'
  test.each([
    [
      'although it holds the output open',
      `bash -c 'echo $$ >> pids; trap "" TERM; sleep 1000; :' &`,
    ],
    ...(onLinux
      ? [
          [
            'even as a daemon',
            "(setsid bash -c 'echo $$ >> pids; sleep 1000; :' >/dev/null 2>&1 &);",
          ],
        ]
      : []),
  ])('ends with the command, %s', async (_, script) => {
    const cwd = await temporaryFolder()
    const result = await bash(cwd, `${script} ${waits}`)
    expect(result).toMatchObject({ end: 'exited', exitCode: 0, stdout: 'done\n' })
    await expectAllDead(await pidsIn(join(cwd, 'pids'), 1))
  })

  test.runIf(onLinux)('does not delay the result if it cannot be found', async () => {
    const cwd = await temporaryFolder()
    // It is neither in the process group nor marked, and it holds the output open.
    const lost = "env -i setsid bash -c 'echo $$ > pids.new; mv pids.new pids; exec sleep 1000' &"
    const result = await bash(cwd, `${lost} ${waits}`)
    await pidsIn(join(cwd, 'pids'), 1)
    expect(result).toMatchObject({ end: 'exited', exitCode: 0, stdout: 'done\n' })
  })
})

describe('output', () => {
  test('that is not too long is kept whole, also from both streams at once', async () => {
    const lines = Array.from({ length: 20_000 }, (_, index) => `${index}\n`).join('')
    const maxBytes = 2 * lines.length
    const script = 'seq 0 19999 & seq 0 19999 >&2; wait'
    const { stdout, stderr, output } = await bash(await temporaryFolder(), script, { maxBytes })
    expect([stdout, stderr]).toEqual([lines, lines])
    expect(output).toHaveLength(maxBytes)
  })

  test('keeps characters whole if their bytes come separately', async () => {
    const script = "printf '\\xf0\\x9f'; sleep 0.1; printf + >&2; sleep 0.1; printf '\\x98\\x80!'"
    const result = await bash(await temporaryFolder(), script)
    expect(result).toMatchObject({ stdout: '😀!', stderr: '+', output: '+😀!', bytes: 6 })
  })

  test('that is not UTF-8 gets replacement characters', async () => {
    const result = await bash(await temporaryFolder(), "printf 'a\\xffb\\xc3'")
    expect(result).toMatchObject({ stdout: 'a\ufffdb\ufffd', bytes: 4 })
  })
})

describe('the environment', () => {
  const SECRETS = {
    OPENAI_API_KEY: 'sk-leak',
    ANTHROPIC_API_KEY: 'sk-leak',
    GITHUB_TOKEN: 'sk-leak',
    AWS_SECRET_ACCESS_KEY: 'sk-leak',
    RETRAI_LLM_API_KEY: 'sk-leak',
    RETRAI_TOKENS: 'sk-leak',
    EVENTSTORE_URL: 'esdb://admin:sk-leak@localhost:2113',
    HTTPS_PROXY: 'http://user:sk-leak@localhost:1',
    DATABASE_URL: 'postgres://user:sk-leak@localhost/db',
    SSH_AUTH_SOCK: '/sk-leak',
    NODE_OPTIONS: '--no-warnings --title=sk-leak',
    BASH_ENV: '/sk-leak',
    GIT_DIR: '/sk-leak',
    LCSECRET: 'sk-leak',
  }

  test('shows none of the keys of the server', async () => {
    for (const [name, value] of Object.entries(SECRETS)) vi.stubEnv(name, value)
    try {
      const { stdout } = await bash(await temporaryFolder(), 'env; cat /proc/self/environ')
      expect(stdout).not.toContain('sk-leak')
      for (const name of Object.keys(SECRETS)) expect(stdout).not.toContain(`${name}=`)
    } finally {
      vi.unstubAllEnvs()
    }
  })

  test('has what programs need, what the command adds, and no prompts of git', async () => {
    const { PATH = '' } = process.env
    const own = PATH.split(':').filter((folder) => !folder.includes('/node_modules/'))
    vi.stubEnv('LC_CTYPE', 'C.UTF-8')
    // As npx and npm start a program.
    const added = ['/home/dev/.npm/_npx/a656/node_modules/.bin', '/retrai/node_modules/.bin']
    vi.stubEnv('PATH', [...added, ...own].join(':'))
    try {
      const { stdout } = await bash(await temporaryFolder(), 'env', { env: { ADDED: 'yes' } })
      const lines = stdout.split('\n')
      expect(lines).toContain(`PATH=${own.join(':')}`)
      expect(lines).toContain('LC_CTYPE=C.UTF-8')
      expect(lines).toContain('ADDED=yes')
      expect(lines).toContain('GIT_TERMINAL_PROMPT=0')
    } finally {
      vi.unstubAllEnvs()
    }
  })
})
