import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { SESSION } from '../../src/runner/processes.ts'
import { isRoot, LEVELS_HERE } from '../support/levels.ts'
import { isolated } from './support.ts'

const sharesBySession = existsSync(SESSION) && readFileSync(SESSION, 'utf8').includes('nice')
/** Without a gate, a command may begin before its session gives way. */
const UNTIL_IT_GIVES_WAY = `until grep -q 'nice 7$' ${SESSION}; do sleep 0.01; done; nice`

const levels = LEVELS_HERE.filter((level) => level !== 'landlock')

// The kernel lets others than root change it only ten times a second, all together.
test.runIf(sharesBySession && isRoot).each(levels)(
  'at the level %s, a command gives way to the server, also where Linux shares the processor out by sessions',
  async (level) => {
    const { bash } = await isolated(level)
    const result = await bash(UNTIL_IT_GIVES_WAY, { timeoutMs: 30_000 })
    expect(result).toMatchObject({ end: 'exited', stdout: '7\n' })
  },
)
