import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { cleanEnv } from './support.ts'

const LOG = new URL('../../src/cli/terminal/log.ts', import.meta.url).href
const SCRIPT = `
  const { createLog } = await import(${JSON.stringify(LOG)})
  const log = createLog('info')
  for (let line = 0; line < 1000; line += 1) log.info({ text: 'x'.repeat(10_000) }, 'a line')
  log.fatal({}, 'the last line')
  console.error('works')
`

test.skipIf(!existsSync('/dev/full'))('a log on a full disk stops nothing', async () => {
  const full = openSync('/dev/full', 'w')
  const child = spawn(process.execPath, ['--input-type=module', '--eval', SCRIPT], {
    env: cleanEnv(),
    stdio: ['ignore', full, 'pipe'],
  })
  closeSync(full)
  const exited = once(child, 'exit')
  if (child.stderr === null) throw new Error('stderr is a pipe')
  expect(await text(child.stderr)).toBe('works\n')
  expect(await exited).toEqual([0, null])
})
