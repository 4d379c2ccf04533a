import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { isMissing } from '../support/missing.ts'
import { within } from '../support/within.ts'
import { cleanEnv } from './support.ts'

const DEMO = join(import.meta.dirname, '../../examples/demo/demo.ts')

/** The output of the demo; rejects unless it exits with 0. */
async function printed(...args: string[]): Promise<string> {
  const env = { ...cleanEnv(), NO_COLOR: '1' }
  const demo = promisify(execFile)(process.execPath, [DEMO, '--once', ...args], { env })
  return (await demo).stdout
}

const LINES = [
  /^ +\d+ {2}it 1 {2}step_start +plan$/m,
  /^ +\d+ {2}it 0 {2}goal_check +not reached: /m,
  /^ +\d+ {2}it 1 {2}goal_check +not reached: 3 of 9 tests failing: /m,
  /^ +\d+ {2}it 3 {2}run_end +achieved: All 9 tests passed$/m,
  /: the same, in the same order\.$/m,
]

/** `.ci/run` also shows the demo, in JavaScript. */
const [goal, ...args] = isMissing('pytest') ? ['npm-test'] : ['pytest', '--python']

test('the demo shows a run that reaches its goal, one line for each event', async () => {
  const text = await printed(...args)
  for (const line of LINES) expect(text).toMatch(line)
  expect(text).toContain(`"goal": "${goal}"`)
})

test('a demo whose output nobody reads any more leaves no server', async () => {
  const demo = spawn(process.execPath, [DEMO], {
    env: cleanEnv(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // Its server writes to stderr as well, so that closes only after both have ended.
  demo.stderr.resume()
  const ended = once(demo, 'close')
  let printed = ''
  demo.stdout.on('data', (chunk) => {
    printed += chunk
    if (printed.includes('Started run')) demo.stdout.destroy()
  })
  await within(ended, () => 'the demo and its server to end')
})
