import { describe, expect, test } from 'vitest'
import { FileChanges } from '../../src/domain/file-changes.ts'
import type { PayloadOf, RunRecord } from '../../src/domain/records.ts'

const at = {
  run_id: '550e8400-e29b-41d4-a716-446655440000',
  iteration: 1,
  ts: 1_770_000_000,
} as const

type Args = PayloadOf<'tool_call'>['args']
type Outcome = PayloadOf<'tool_result'>['outcome']

function call(call_id: string, tool: string, args: Args, read_only = false): RunRecord {
  return { ...at, kind: 'tool_call', payload: { call_id, tool, args, read_only } }
}

function result(call_id: string, outcome: Outcome, exit_code: number | null = 0): RunRecord {
  const rest = { tool: 't', output: '', duration_ms: 1, bytes: 0, truncated: false, sha256: null }
  return { ...at, kind: 'tool_result', payload: { call_id, outcome, exit_code, ...rest } }
}

function changesBy(records: readonly RunRecord[], from = 10): FileChanges {
  const changes = new FileChanges()
  for (const [index, record] of records.entries()) changes.add(from + index, record)
  return changes
}

describe('changes of files', () => {
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
    const records = [call('a', 'file_write', { path: 'x.py', content: '' })]
    const changes = changesBy(outcome === null ? records : [...records, result('a', outcome)])
    expect(changes.files()).toEqual([
      { path: 'x.py', changed, calls: [{ seq: 10, tool: 'file_write', outcome }] },
    ])
    expect(changes.commands()).toEqual([])
  })

  test('the calls that change one file are listed in order', () => {
    const changes = changesBy([
      ...[call('a', 'file_patch', { path: 'x.py' }), result('a', 'error')],
      ...[call('b', 'file_write', { path: 'y.py' }), result('b', 'ok')],
      ...[call('c', 'file_patch', { path: 'x.py' }), result('c', 'ok')],
    ])
    const patched = [
      { seq: 10, tool: 'file_patch', outcome: 'error' },
      { seq: 14, tool: 'file_patch', outcome: 'ok' },
    ]
    const written = [{ seq: 12, tool: 'file_write', outcome: 'ok' }]
    expect(changes.files()).toEqual([
      { path: 'x.py', changed: 'yes', calls: patched },
      { path: 'y.py', changed: 'yes', calls: written },
    ])
  })

  test('a call that names several files counts for each of them', () => {
    const input =
      '*** Begin Patch\n*** Update File: a.py\n*** Move to: b.py\n@@\n-*** Delete File: x\n+y\n*** End Patch'
    const changes = changesBy([
      call('a', 'file_rename', { path: 'x.py', to: 'y.py' }),
      result('a', 'ok'),
      call('b', 'apply_patch', { input }),
      result('b', 'ok'),
      call('c', 'file_delete', { path: 'z.py' }),
      result('c', 'error'),
    ])
    expect(changes.files().map(({ path, changed }) => [path, changed])).toEqual([
      ['x.py', 'yes'],
      ['y.py', 'yes'],
      ['a.py', 'yes'],
      ['b.py', 'yes'],
      ['z.py', 'no'],
    ])
    expect(changes.commands()).toEqual([])
  })

  test('calls that may have changed any file are listed, calls that only read are not', () => {
    const changes = changesBy([
      call('a', 'bash_exec', { command: `make ${'x'.repeat(600)}` }),
      result('a', 'ok', 2),
      call('b', 'file_read', { path: 'x.py' }, true),
      result('b', 'ok'),
      call('c', 'run_pytest', { args: ['-x'] }),
      call('d', 'file_write', { path: 7 }),
    ])
    expect(changes.files()).toEqual([])
    const unknown = { outcome: null, exit_code: null }
    const made = { command: `make ${'x'.repeat(495)}`, outcome: 'ok', exit_code: 2 }
    expect(changes.commands()).toEqual([
      { seq: 10, tool: 'bash_exec', ...made },
      { seq: 14, tool: 'run_pytest', command: '{"args":["-x"]}', ...unknown },
      { seq: 15, tool: 'file_write', command: '{"path":7}', ...unknown },
    ])
  })

  test('a call that was under way before the first record counts', () => {
    const { payload } = call('a', 'file_write', { path: 'x.py' })
    const changes = new FileChanges({ seq: 4, call: payload as PayloadOf<'tool_call'> })
    changes.add(6, result('a', 'ok'))
    expect(changes.files()).toEqual([
      { path: 'x.py', changed: 'yes', calls: [{ seq: 4, tool: 'file_write', outcome: 'ok' }] },
    ])
  })
})
