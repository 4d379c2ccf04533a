import { json } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import * as z from 'zod'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { Effects } from '../../../src/agent/run/effects.ts'
import { fold } from '../../../src/domain/evolve.ts'
import { allArtifactsOf } from '../../../src/domain/named-artifacts.ts'
import { ProtectedFiles } from '../../../src/domain/snapshots.ts'
import { isMissing } from '../../support/missing.ts'
import { payloadsOf, played, type Workshop } from '../support.ts'

const bash = (command: string) => ({ tool: 'bash_exec', args: { command } })
/** One iteration for each command: after it, the model says that it is done, and the goal is checked. */
const steps = (...commands: readonly string[]): Script =>
  commands.flatMap((command) => [{ calls: [bash(command)] }, { text: 'Done.' }])

const CHECK = {
  shell_goal: { check_command: 'sh check.sh', success_condition: { exit_code: 0 } },
  max_turns_per_iteration: 50,
  on_tampering: 'report',
} as const

/** A run that may change these files. */
const playedWith = (script: Script, check = 'test -f done', effects: Partial<Effects> = {}) =>
  played(script, CHECK, effects, {
    'check.sh': `${check}\n`,
    'tests/a.test.js': 'assert(1 === 2)\n',
    'tests/data.txt': 'old\n',
    'package.json': '{"scripts":{"test":"node --test"},"dependencies":{}}',
  })

/** The JSON document that an artifact is. */
async function artifactOf(shop: Workshop, sha256 = ''): Promise<unknown> {
  const kept = await shop.artifacts.read(sha256)
  return kept && json(kept.stream)
}

test('what a run has changed of its check is named until it is restored, whatever changed it', async () => {
  const { shop, records } = await playedWith(
    steps(
      'sed -i s/2/1/ tests/a.test.js; rm tests/data.txt; touch conftest.py',
      'echo "assert(1 === 2)" > tests/a.test.js; rm conftest.py; echo old > tests/data.txt; chmod +x check.sh; touch done',
    ),
  )
  const [first, ...checks] = payloadsOf(records, 'goal_check')
  expect(Object.keys(first ?? {})).not.toContain('tampering')
  expect(checks.map(({ tampering }) => tampering)).toEqual([
    [
      { path: 'conftest.py', change: 'added' },
      { path: 'tests/a.test.js', change: 'modified' },
      { path: 'tests/data.txt', change: 'deleted' },
    ],
    [{ path: 'check.sh', change: 'mode' }],
  ])
  const until = (kind: 'goal_check' | 'run_end') =>
    fold(records.slice(0, records.findLastIndex((one) => one.kind === kind) + 1))?.tampering
  expect([until('goal_check'), until('run_end')]).toEqual([
    [{ path: 'check.sh', change: 'mode' }],
    [{ path: 'check.sh', change: 'mode' }],
  ])
  // The model does not read that.
  expect(JSON.stringify(shop.requests)).not.toMatch(/tamper|conftest\.py \(|since the run began/)

  const [snapshot, ...later] = payloadsOf(records, 'snapshot')
  const { sha256 = '', count } = snapshot?.protected ?? {}
  const list = ProtectedFiles.parse(await artifactOf(shop, sha256))
  expect(list.files.map(({ path, test = false }) => [path, test])).toEqual([
    ['check.sh', false],
    ['package.json', false],
    ['tests/a.test.js', true],
    ['tests/data.txt', true],
  ])
  expect(count).toBe(4)
  expect(later.some((one) => 'protected' in one)).toBe(false)
  expect(records.flatMap(allArtifactsOf)).toContain(sha256)
})

test('new tests, new dependencies and the product itself are not named', async () => {
  const { records } = await playedWith(
    steps(
      `echo x > tests/b.test.js; mkdir src; echo y > src/a.js; touch done
       sed -i 's/"dependencies":{}/"dependencies":{"left-pad":"1.0.0"}/' package.json`,
    ),
  )
  expect(payloadsOf(records, 'goal_check').map(({ achieved }) => achieved)).toEqual([false, true])
  expect(JSON.stringify(payloadsOf(records, 'goal_check'))).not.toContain('tampering')
  expect(fold(records)).not.toHaveProperty('tampering')
})

test('a check that restores itself hides nothing', async () => {
  const { records } = await playedWith(
    steps('mv check.sh real.sh; echo "mv real.sh check.sh" > check.sh'),
  )
  expect(payloadsOf(records, 'goal_check').at(-1)).toMatchObject({
    achieved: true,
    tampering: [{ path: 'check.sh', change: 'modified' }],
  })
})

test('what a process in the background has changed is named, also if the check restores it', async () => {
  const command = 'until test -f go; do sleep 0.05; done; echo 1 > tests/data.txt; touch done'
  const { records } = await playedWith(
    [
      { calls: [{ tool: 'process_start', args: { command } }] },
      { calls: [bash('touch go')] },
      { text: 'Done.', delayMs: 500 },
    ],
    'echo old > tests/data.txt; test -f done',
  )
  expect(payloadsOf(records, 'goal_check').at(-1)?.tampering).toEqual([
    { path: 'tests/data.txt', change: 'modified' },
  ])
})

test('what the first check itself changes is not named, but what an agent adds to that is', async () => {
  const check = 'date +%N >> tests/data.txt; echo x >> conftest.py; test -f done'
  const { records } = await playedWith(steps('echo > tests/a.test.js; touch done'), check)
  expect(payloadsOf(records, 'goal_check').at(-1)?.tampering).toEqual([
    { path: 'tests/a.test.js', change: 'modified' },
  ])
  expect(payloadsOf(records, 'snapshot').filter((one) => 'protected' in one)).toHaveLength(2)
})

test('a list that is gone is no reason to stop; the log of the server names it', async () => {
  const effects = { readArtifact: async () => null }
  const { shop, end } = await playedWith(steps('touch done'), 'test -f done', effects)
  expect(end.achieved).toBe(true)
  const logged = shop.logged.map(({ message }) => message)
  expect(logged).toContain('the protected files cannot be compared')
})

const TESTS = 'def test_one(): pass\ndef test_two(): assert open("x")\ndef test_three(): pass\n'

test.skipIf(isMissing('pytest'))(
  'the tests that a first check named and a later one does not are named',
  async () => {
    const { shop, records } = await played(
      steps('sed -i s/test_two/test_new/ test_a.py; touch x', 'rm x', 'touch x'),
      { ...CHECK, goal: 'pytest', shell_goal: null },
      {},
      { 'test_a.py': TESTS },
    )
    const [first, last] = payloadsOf(records, 'goal_check')
    expect([first?.tests, last?.tests]).toEqual([3, 3])
    const names = z.array(z.string()).parse(await artifactOf(shop, first?.named_tests))
    expect(names.toSorted()).toEqual(
      ['one', 'three', 'two'].map((name) => `test_a.py::test_${name}`),
    )
    expect(last).toMatchObject({
      achieved: true,
      reason: 'All 3 tests passed',
      tampering: [{ path: 'test_a.py', change: 'modified' }],
      vanished: ['test_a.py::test_two'],
    })
    expect(last).not.toHaveProperty('named_tests')
    expect(`${first?.details}${last?.details}`).not.toContain('PASSED')
  },
)
