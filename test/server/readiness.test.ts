import { expect, onTestFinished, test } from 'vitest'
import type { StartRequest } from '../../src/runner/protocol.ts'
import { commandRunner, DEFAULT_LIMITS, runCommand } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { callThatEnded } from '../../src/runner/streams.ts'
import { NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { Resources } from '../../src/server/readiness.ts'
import { only, Workshop } from '../agent/support.ts'

const tooManyFiles = () => Object.assign(new Error('too many open files'), { code: 'EMFILE' })

/** A process that has too few descriptors for this many looks. */
function shortFor(times: number) {
  const logged: string[] = []
  const note = (_fields: object, message: string) => logged.push(message)
  let left = times
  const resources = new Resources({
    retryMs: [1, 5],
    log: { info: note, error: note },
    probe: async () => {
      left -= 1
      if (left >= 0) throw tooManyFiles()
    },
  })
  return { resources, logged, looked: () => times - left }
}

test('a shortage is named while it lasts, and logged once', async () => {
  const { resources, logged } = shortFor(2)
  expect(await resources.problem()).toContain('EMFILE')
  expect(await resources.problem()).toContain('so its runs wait')
  expect(logged).toEqual(['the server is short of descriptors or memory: runs wait'])
  expect(await resources.problem()).toBe(null)
  expect(logged).toHaveLength(2)
})

test('an error that is not a shortage does not make a run wait', async () => {
  const log = { info() {}, error() {} }
  const probe = () => Promise.reject(Object.assign(new Error('gone'), { code: 'ENOENT' }))
  const resources = new Resources({ retryMs: [1, 1], log, probe })
  expect(await resources.available(new AbortController().signal)).toBe(true)
})

test('a run whose commands cannot start for lack of descriptors waits without using an iteration', async () => {
  await using shop = await Workshop.open([{ text: 'Done.' }])
  await shop.file('done', '')
  const { resources, looked } = shortFor(3)
  let refused = 2
  const runner = new (class extends Runner {
    override start(request: StartRequest) {
      refused -= 1
      if (refused < 0) return super.start(request)
      // Without free descriptors, starting a program fails with this code.
      return callThatEnded({ end: 'not_started', message: 'short', shortage: 'EMFILE' })
    }
  })({ error: () => {} })
  onTestFinished(() => runner.close())
  const waitFor = resources.waitFor.bind(resources)
  const patient = commandRunner(DEFAULT_LIMITS, runner, NO_ISOLATION, waitFor)
  shop.startAgent({
    effects: {
      runCommand: patient,
      untilAvailable: (signal) => resources.available(signal),
    },
  })
  const end = only(await shop.until(await shop.create(), 'run_end'), 'run_end')
  expect(end.payload).toMatchObject({ status: 'achieved', iterations: 1 })
  expect(refused).toBeLessThan(0)
  expect(looked()).toBeGreaterThan(3)
})

test('an abort ends the wait', async () => {
  const { resources } = shortFor(Number.POSITIVE_INFINITY)
  const stop = new AbortController()
  const waiting = resources.available(stop.signal)
  stop.abort()
  expect(await waiting).toBe(false)
})

test('a command that cannot start for lack of descriptors reports this shortage', async () => {
  const command = {
    file: 'sh',
    args: ['-c', 'ulimit -n 60; exec "$0" --input-type=module -e "$1"', process.execPath, SPAWNER],
    cwd: process.cwd(),
    timeoutMs: 60_000,
    signal: new AbortController().signal,
  }
  const { output } = await runCommand(command)
  expect(output).toContain('"shortage":"EMFILE"')
})

/** Opens files until none can be opened, then runs a command. */
const SPAWNER = `
import { openSync, closeSync } from 'node:fs'
const { runCommand } = await import(${JSON.stringify(new URL('../../src/runner/run-command.ts', import.meta.url).href)})
const signal = new AbortController().signal
const command = { file: 'true', args: [], cwd: '/', timeoutMs: 10000, signal }
try { for (;;) openSync('/dev/null') } catch {}
console.log(JSON.stringify(await runCommand(command)))
`
