import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { BackgroundProcesses } from '../../../src/agent/run/background-processes.ts'
import type { CallContext } from '../../../src/agent/tools/tool.ts'
import type { OpenCall } from '../../../src/domain/state.ts'
import { projectWith } from './support.ts'

/** The tools of one run, whose processes end with the test. */
async function runWith(
  files: Parameters<typeof projectWith>[0] = {},
  context: Partial<CallContext> = {},
) {
  const { run, ...project } = await projectWith(files)
  const processes = new BackgroundProcesses()
  onTestFinished(() => processes[Symbol.asyncDispose]())
  const tool = (name: string, args: OpenCall['args'] = {}) =>
    run(name, args, undefined, { processes, ...context })
  const start = async (command: string, wait: OpenCall['args'] = {}) => {
    const result = await tool('process_start', { command, ...wait })
    return { result, id: /process (p-\w+)/.exec(result.output)?.[1] ?? '' }
  }
  return { ...project, tool, start, processes }
}

test('a process works while others run, and each read returns only what is new', async () => {
  const { cwd, tool, start } = await runWith()
  const { id, result } = await start('mkfifo line; echo ready; cat line', { wait_for: 'ready' })
  expect(result).toMatchObject({ outcome: 'ok', exit_code: 0 })
  expect(result.output).toBe(`ready\n[process ${id} is running]`)
  expect((await tool('process_read', { id })).output).toBe(
    `(no new output)\n[process ${id} is running]`,
  )
  await writeFile(join(cwd, 'line'), 'got one\n')
  const last = await tool('process_read', { id, wait_s: 30 })
  expect(last).toMatchObject({ exit_code: 0, outcome: 'ok' })
  expect(last.output).toBe(`got one\n[process ${id} ended with exit code 0]`)
})

test('a process that fails at once reports that in the result of its start', async () => {
  const { start, tool } = await runWith()
  const { result, id } = await start('echo "port 80 is in use" >&2; exit 7', {
    wait_for: 'listening',
  })
  expect(result).toMatchObject({ exit_code: 7, outcome: 'error' })
  expect(result.output).toBe(
    `port 80 is in use\n[process ${id} ended with exit code 7; "listening" did not appear]`,
  )
  expect((await tool('process_read')).output).toMatch(`${id} ended with exit code 7: echo`)
})

test('a process starts in the folder that the call names', async () => {
  const { start } = await runWith({ 'a/b/here': '' })
  expect((await start('ls', { folder: 'a/b', wait_s: 30 })).result.output).toMatch(/^here\n/)
  expect((await start('ls', { folder: '..' })).result.outcome).toBe('error')
})

test('if the awaited text does not appear in time, the result names it', async () => {
  const { start } = await runWith()
  const { result } = await start('sleep 1000', { wait_for: 'yes', wait_s: 0.2 })
  expect(result.output).toMatch(
    /^\(no new output\)\n\[process p-\w+ is running; "yes" did not appear\]$/,
  )
})

test('if a process is not known, for example after a restart, the result says why', async () => {
  const { tool, start } = await runWith()
  const { id } = await start('sleep 1000')
  for (const name of ['process_read', 'process_stop']) {
    const { output, outcome } = await tool(name, { id: 'p-000000' })
    expect(outcome).toBe('error')
    expect(output).toMatch(/There is no process p-000000\..*end when the server stops or fails/)
    expect(output).toMatch(`${id} is running: sleep 1000`)
  }
})

test('no more than eight processes of a run live at once', async () => {
  const { start, tool } = await runWith()
  const started = await Promise.all(
    Array.from({ length: 8 }, () => start('sleep 1000', { wait_s: 0 })),
  )
  const { result } = await start('sleep 1000')
  expect(result.outcome).toBe('error')
  expect(result.output).toMatch(/^Too many processes are running/)
  await tool('process_stop', { id: started[0]?.id ?? '' })
  expect((await start('true')).result.outcome).toBe('ok')
})

test('of a flood of output, the beginning and the end are read, with how much is missing', async () => {
  const { start } = await runWith()
  const { result } = await start('seq 1 300000; echo done; sleep 1000', {
    wait_for: 'done',
    wait_s: 60,
  })
  expect(result.output).toMatch(/^\[\d+ bytes in the middle of this are dropped\]\n1\n2\n/)
  expect(result.output).toMatch(/300000\ndone\n\[process p-\w+ is running\]$/)
})

test('secrets in the output of a process are masked', async () => {
  const { start } = await runWith()
  const token = `ghp_${'a1B2'.repeat(9)}`
  const { result } = await start(`echo "token ${token.slice(0, 9)}""${token.slice(9)}"`)
  expect(result.output).not.toContain(token)
  expect(result.output).toContain('[masked:github-token]')
})

test('if there are no background processes, the model is asked to use commands', async () => {
  const { run, cwd } = await projectWith()
  const { output, outcome } = await run('process_start', { command: 'touch made' })
  expect([output, outcome]).toEqual([
    'Background processes are not possible here. Use bash_exec.',
    'error',
  ])
  await expect(readFile(join(cwd, 'made'))).rejects.toThrow('ENOENT')
})
