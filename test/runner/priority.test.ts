import { existsSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { SESSION } from '../../src/runner/helper-process.ts'
import { chooseIsolation, NO_ISOLATION } from '../../src/runner/isolation/isolation.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { isMissing } from '../support/missing.ts'
import { temporaryFolder } from './support.ts'

const sharesBySession = existsSync(SESSION) && readFileSync(SESSION, 'utf8').includes('nice')
/** The kernel lets others change it only ten times a second, all together. */
const isRoot = process.getuid?.() === 0

/** Without a gate, a command may begin before its session gives way. */
const UNTIL_IT_GIVES_WAY = `until grep -q 'nice 7$' ${SESSION}; do sleep 0.01; done; nice`

const levels = ['none', ...(isMissing('bwrap') ? [] : (['namespaces'] as const))] as const

test.runIf(sharesBySession && isRoot).each(levels)(
  'at the level %s, a command gives way to the server, also where Linux shares the processor out by sessions',
  async (level) => {
    const [dataDir, project] = [await temporaryFolder(), join(await temporaryFolder(), 'project')]
    await mkdir(project)
    const runner = new Runner({ info: () => {}, error: () => {} })
    onTestFinished(() => runner.close())
    const options = { runner, dataDir, env: process.env, toolPaths: [] }
    const isolation = level === 'none' ? NO_ISOLATION : await chooseIsolation(level, options)
    const { signal } = new AbortController()
    const run = commandRunner(DEFAULT_LIMITS, runner, isolation)
    const args = ['-c', UNTIL_IT_GIVES_WAY]
    const result = await run({ file: 'bash', args, cwd: project, timeoutMs: 30_000, signal })
    expect(result).toMatchObject({ end: 'exited', stdout: '7\n' })
  },
)
