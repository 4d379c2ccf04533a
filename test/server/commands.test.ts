import { err, ok } from 'neverthrow'
import { expect, test } from 'vitest'
import type { NetworkRules } from '../../src/agent/network-rules.ts'
import { type Isolation, NO_ISOLATION } from '../../src/runner/isolation/isolation.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { isolationOffer } from '../../src/server/commands.ts'

/** A server on which only bubblewrap works. */
const only = (level: Isolation['level']): Isolation => ({
  ...NO_ISOLATION,
  level,
  atLeast: async (wanted) => (wanted === 'landlock' ? err('It is too old.') : ok(NO_ISOLATION)),
})
const rulesAt = (level: Isolation['level'], most: NetworkRules['most'] = 'hosts') => ({
  ...{ level, most, fullProblem: null },
})

test('a run may ask for the level of the server and for stricter ones, if they work', async () => {
  const { levels } = await isolationOffer(only('none'), rulesAt('none'), DEFAULT_LIMITS)
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
    ...[only('landlock'), rulesAt('landlock', ['pypi.org']), DEFAULT_LIMITS],
  )
  expect(hosts).toEqual(['pypi.org'])
  expect(levels).toMatchObject([
    { level: 'namespaces', hosts_problem: null, full_problem: expect.stringMatching(/=full/) },
    { level: 'landlock', hosts_problem: expect.stringMatching(/install bubblewrap/) },
  ])
})

test('the limits are those of the server, which a run may lower', async () => {
  const { limits } = await isolationOffer(only('none'), rulesAt('none'), DEFAULT_LIMITS)
  expect(limits).toMatchObject({
    ...{ memory_bytes: DEFAULT_LIMITS.memoryBytes, processes: DEFAULT_LIMITS.processes },
  })
})
