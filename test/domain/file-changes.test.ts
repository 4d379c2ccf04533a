import { expect, test } from 'vitest'
import { FileChanges } from '../../src/domain/file-changes.ts'
import type { PayloadOf, RunRecord } from '../../src/domain/records.ts'

const at = { run_id: '550e8400-e29b-41d4-a716-446655440000', iteration: 1, ts: 1_770_000_000 }

type Args = PayloadOf<'tool_call'>['args']
type Outcome = PayloadOf<'tool_result'>['outcome']

/** A call, and its result if it has one. */
function call(tool: string, args: Args, outcome: Outcome | null, read_only = false): RunRecord[] {
  const made = { call_id: tool, tool }
  const rest = { output: '', duration_ms: 1, bytes: 0, truncated: false, sha256: null }
  const result = { ...made, ...rest, outcome: outcome ?? 'ok', exit_code: 0 }
  return [
    { ...at, kind: 'tool_call', payload: { ...made, args, read_only } },
    ...(outcome === null ? [] : [{ ...at, kind: 'tool_result' as const, payload: result }]),
  ]
}

function changedBy(...records: readonly RunRecord[]) {
  const changes = new FileChanges()
  for (const [seq, record] of records.entries()) changes.add(seq, record)
  return changes.files()
}

test.each<[Outcome | null, 'yes' | 'no' | 'unknown']>([
  ['ok', 'yes'],
  ['error', 'no'],
  ['rejected', 'no'],
  ['not_isolated', 'no'],
  ['timed_out', 'unknown'],
  ['aborted', 'unknown'],
  ['unknown', 'unknown'],
  [null, 'unknown'],
])('a file whose call ends with %s has changed: %s', (outcome, changed) => {
  expect(changedBy(...call('file_write', { path: 'x.py' }, outcome))).toEqual([
    { path: 'x.py', changed, calls: [{ seq: 0, tool: 'file_write', outcome }] },
  ])
})

test('all calls that name a file are listed with it, and each file that a call names', () => {
  const input =
    '*** Begin Patch\n*** Update File: a.py\n*** Move to: b.py\n@@\n-*** Delete File: x\n+y\n*** End Patch'
  const files = changedBy(
    ...call('file_rename', { path: 'x.py', to: 'a.py' }, 'error'),
    ...call('apply_patch', { input }, 'ok'),
    ...call('bash_exec', { command: 'touch c.py' }, 'ok'),
    ...call('file_read', { path: 'd.py' }, 'ok', true),
    ...call('file_write', { path: 7 }, 'ok'),
  )
  expect(files.map(({ path, changed, calls }) => [path, changed, calls.length])).toEqual([
    ['x.py', 'no', 1],
    ['a.py', 'yes', 2],
    ['b.py', 'yes', 1],
  ])
})
