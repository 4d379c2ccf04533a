import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { expectAllDead, isolated, pidsIn, startText, temporaryFolder } from './support.ts'

const onLinux = process.platform === 'linux'

const request = (cwd: string, script: string) => ({
  file: 'bash',
  args: ['-c', script],
  cwd,
  project: cwd,
  timeoutMs: 100_000,
  env: { PATH: process.env.PATH },
  limits: DEFAULT_LIMITS,
  group: null,
  sandbox: null,
})

test.runIf(onLinux)(
  'the process that runs commands has no environment and little memory',
  async () => {
    const { runner, bash } = await isolated('none')
    const { stdout } = await bash('echo $PPID')
    expect(stdout).toBe(`${runner.pid}\n`)
    expect(await readFile(`/proc/${runner.pid}/environ`, 'utf8')).toBe('')
    // From sources, Node holds what strips their types too. The program that is built has less.
    const resident = /^RssAnon:\s+(\d+) kB$/m.exec(
      await readFile(`/proc/${runner.pid}/status`, 'utf8'),
    )
    expect(Number(resident?.[1])).toBeLessThan(64 * 1024)
  },
)

test.runIf(onLinux).each(['SIGCONT', 'SIGSTOP'] as const)(
  'the runner ends with the server after %s, and its commands end with it',
  async (signal) => {
    const cwd = await temporaryFolder()
    const script =
      "setsid bash -c 'echo $$ >> pids; sleep 1000; :' & echo $$ >> pids; sleep 1000; :"
    const server = `import { writeFileSync } from 'node:fs'
      import { Runner } from 'src/runner/runner.ts'
      const runner = new Runner({ error: () => {} })
      runner.connect()
      writeFileSync('runner', String(runner.pid))
      await runner.start(${JSON.stringify(request(cwd, script))}).ended`
    const started = startText(cwd, server)
    const pids = await pidsIn(join(cwd, 'pids'), 2)
    const [runner = 0] = await pidsIn(join(cwd, 'runner'), 1)
    process.kill(runner, signal)
    started.kill('SIGKILL')
    await once(started, 'exit')
    await expectAllDead([...pids, runner])
  },
)

test("an idle runner does not keep the server's process alive", async () => {
  const program = `import { runCommand } from 'src/runner/run-command.ts'
    const { signal } = new AbortController()
    await runCommand({ file: 'true', args: [], cwd: '/', timeoutMs: 9_000, signal })`
  expect(await once(startText('/', program), 'exit')).toEqual([0, null])
})

test('its program loads no library, because each start of a command copies the tables of its memory', async () => {
  const { RETRAI_TEST_PROGRAM = '' } = process.env
  const files = new Map<string, string>()
  const load = async (file: string): Promise<void> => {
    if (files.has(file)) return
    files.set(file, await readFile(join(dirname(RETRAI_TEST_PROGRAM), file), 'utf8'))
    const imported = files.get(file)?.matchAll(/from ?"\.\/([^"]+)"/g) ?? []
    for (const [, name = ''] of imported) await load(name)
  }
  await load('runner-program.js')
  expect(files.size).toBeGreaterThan(3)
  // Its own code has 70 KB. A library of schemas alone has more than 100.
  expect([...files.values()].join('').length).toBeLessThan(100_000)
})
