import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { SESSION } from '../../src/runner/processes.ts'
import { isMissing } from '../support/missing.ts'
import { isolated } from './support.ts'

const sharesBySession = existsSync(SESSION) && readFileSync(SESSION, 'utf8').includes('nice')
/** The kernel lets others change it only ten times a second, all together. */
const isRoot = process.getuid?.() === 0

/** Without a gate, a command may begin before its session gives way. */
const UNTIL_IT_GIVES_WAY = `until grep -q 'nice 7$' ${SESSION}; do sleep 0.01; done; nice`

const levels = ['none', ...(isMissing('bwrap') ? [] : (['namespaces'] as const))] as const

test.runIf(sharesBySession && isRoot).each(levels)(
  'at the level %s, a command gives way to the server, also where Linux shares the processor out by sessions',
  async (level) => {
    const { bash } = await isolated(level)
    const result = await bash(UNTIL_IT_GIVES_WAY, { timeoutMs: 30_000 })
    expect(result).toMatchObject({ end: 'exited', stdout: '7\n' })
  },
)
