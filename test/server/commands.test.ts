import { tmpdir } from 'node:os'
import { err, ok } from 'neverthrow'
import { expect, onTestFinished, test } from 'vitest'
import type { NetworkRules } from '../../src/agent/planning/problems.ts'
import { makeControlGroup, removeControlGroup } from '../../src/runner/control-group.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { type Isolation, NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { chooseCommands, isolationOffer } from '../../src/server/commands.ts'
import { readSettings } from '../../src/server/read-settings.ts'

/** A server on which only bubblewrap works. */
const only = (level: Isolation['level']): Isolation => ({
  ...NO_ISOLATION,
  level,
  atLeast: async (wanted) => (wanted === 'landlock' ? err('It is too old.') : ok(NO_ISOLATION)),
})
const rulesAt = (level: Isolation['level'], most: NetworkRules['most'] = 'hosts') => ({
  level,
  most,
  fullProblem: null,
})

test('a run may ask for the level of the server and for stricter ones, if they work', async () => {
  const { levels, limits } = await isolationOffer(only('none'), rulesAt('none'), DEFAULT_LIMITS)
  expect(limits).toMatchObject({ processes: DEFAULT_LIMITS.processes })
  expect(levels.map(({ level, problem }) => [level, problem])).toEqual([
    ['namespaces', null],
    ['landlock', 'It is too old.'],
    ['none', null],
  ])
})

test('a server that refuses commands offers no level', async () => {
  const offer = await isolationOffer(only(null), rulesAt(null), DEFAULT_LIMITS)
  expect(offer).toMatchObject({ level: null, levels: [] })
})

test('each level says which network it can have, and why no more', async () => {
  const { levels, hosts } = await isolationOffer(
    only('landlock'),
    rulesAt('landlock', ['pypi.org']),
    DEFAULT_LIMITS,
  )
  expect(hosts).toEqual(['pypi.org'])
  expect(levels).toMatchObject([
    { level: 'namespaces', hosts_problem: null, full_problem: expect.stringMatching(/=full/) },
    { level: 'landlock', hosts_problem: expect.stringMatching(/Leave network out/) },
  ])
})

const canGroup = makeControlGroup(DEFAULT_LIMITS.all).map(removeControlGroup).isOk()

test.runIf(canGroup)('the kernel keeps the limits where control groups can be made', async () => {
  const runner = new Runner({ error: () => {} })
  onTestFinished(() => runner.close())
  const env = { RETRAI_DATA_DIR: tmpdir(), RETRAI_ISOLATION: 'none' }
  const { limits } = await chooseCommands(readSettings({}, env)._unsafeUnwrap(), runner)
  const { group } = limits.limits
  if (group) onTestFinished(() => removeControlGroup(group))
  expect(limits.detail).toContain('The kernel limits the memory')
})
