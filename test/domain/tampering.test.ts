import { expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import { allArtifactsOf } from '../../src/domain/named-artifacts.ts'
import type { PayloadOf } from '../../src/domain/records.ts'
import { type ProtectedFile, type Snapshot, tamperingBetween } from '../../src/domain/snapshots.ts'
import { begun, given, proceed, record } from './support.ts'

const file = (path: string, more: Partial<ProtectedFile> = {}): ProtectedFile => ({
  path,
  mode: '100644',
  id: `of ${path}`,
  ...more,
})

test('what became of protected files is named in the order of their paths; new tests are left out', () => {
  const before = [
    file('b'),
    file('c', { test: true }),
    file('d'),
    file('e', { id: null }),
    file('f', { id: null }),
    file('odd', { bytes: 'odd\xff' }),
  ]
  const now = [
    file('new-test', { test: true }),
    file('a'),
    file('b', { mode: '100755' }),
    file('c', { id: 'x', mode: '100755' }),
    file('e', { id: 'y' }),
    file('odd', { bytes: 'odd\xfe' }),
  ]
  expect(tamperingBetween(before, now)).toEqual([
    { path: 'a', change: 'added' },
    { path: 'b', change: 'mode' },
    { path: 'c', change: 'modified' },
    { path: 'd', change: 'deleted' },
    { path: 'odd', change: 'added' },
    { path: 'odd', change: 'deleted' },
  ])
  expect(tamperingBetween(now, now)).toEqual([])
})

const LIST = 'a'.repeat(64)
const LATER = 'b'.repeat(64)
const NAMES = 'c'.repeat(64)
const tree = '0'.repeat(64)
const snapshot = (sha256: string): Snapshot => ({
  tree,
  files: 1,
  bytes: 1,
  left_out: [],
  packs: [],
  protected: { count: 1, sha256 },
})
const check = (more: Partial<PayloadOf<'goal_check'>>) => ({
  achieved: false,
  reason: 'no',
  details: '',
  duration_ms: 1,
  verdict: 'not_achieved' as const,
  ...more,
})

test('the state knows the list of the beginning, and what the last check named', () => {
  const { records, state } = given(
    ...begun(),
    record({ snapshot: snapshot(LIST) }),
    proceed,
    record({ goal_check: check({ tests: 3, named_tests: NAMES }), snapshot: snapshot(LATER) }),
  )
  const [last] = records.filter((record) => record.kind === 'goal_check')
  const after = (...checks: readonly Partial<PayloadOf<'goal_check'>>[]) =>
    fold(
      checks.flatMap((more) => (last ? [{ ...last, payload: check(more) }] : [])),
      state,
    )
  expect(state).toMatchObject({
    namedTests: NAMES,
    snapshot: { first: { protected: LATER, seq: 3 } },
  })
  expect(state).not.toHaveProperty('tampering')
  const one = { path: 'a', change: 'added' } as const
  expect(after({ tampering: [one, one] })).toMatchObject({
    tampering: [one, one],
    namedTests: NAMES,
  })
  expect(after({ tampering: [one] }, {})).toMatchObject({ tampering: [] })
  expect(records.flatMap(allArtifactsOf)).toEqual([LIST, NAMES, LATER])
})
