import { describe, expect, it } from 'vitest'
import type { PayloadOf, RunRecord } from '../../src/domain/records.ts'
import { Touched } from '../../src/domain/touched.ts'

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

function touchedBy(records: readonly RunRecord[], from = 10): Touched {
  const touched = new Touched()
  for (const [index, record] of records.entries()) touched.add(from + index, record)
  return touched
}

describe('what tools may have changed', () => {
  it.each<[Outcome | null, 'yes' | 'no' | 'unknown']>([
    ['ok', 'yes'],
    ['error', 'no'],
    ['rejected', 'no'],
    ['timed_out', 'unknown'],
    ['aborted', 'unknown'],
    ['unknown', 'unknown'],
    [null, 'unknown'],
  ])('a file whose call ends with %s has changed: %s', (outcome, changed) => {
    const records = [call('a', 'file_write', { path: 'x.py', content: '' })]
    const touched = touchedBy(outcome === null ? records : [...records, result('a', outcome)])
    expect(touched.files()).toEqual([
      { path: 'x.py', changed, calls: [{ seq: 10, tool: 'file_write', outcome }] },
    ])
    expect(touched.commands()).toEqual([])
  })

  it('gathers the calls of one file, in order', () => {
    const touched = touchedBy([
      call('a', 'file_patch', { path: 'x.py' }),
      result('a', 'error'),
      call('b', 'file_write', { path: 'y.py' }),
      result('b', 'ok'),
      call('c', 'file_patch', { path: 'x.py' }),
      result('c', 'ok'),
    ])
    expect(touched.files()).toEqual([
      {
        path: 'x.py',
        changed: 'yes',
        calls: [
          { seq: 10, tool: 'file_patch', outcome: 'error' },
          { seq: 14, tool: 'file_patch', outcome: 'ok' },
        ],
      },
      { path: 'y.py', changed: 'yes', calls: [{ seq: 12, tool: 'file_write', outcome: 'ok' }] },
    ])
  })

  it('lists what may have changed anything, and leaves out what only reads', () => {
    const touched = touchedBy([
      call('a', 'bash_exec', { command: `make ${'x'.repeat(600)}` }),
      result('a', 'ok', 2),
      call('b', 'file_read', { path: 'x.py' }, true),
      result('b', 'ok'),
      call('c', 'run_pytest', { args: ['-x'] }),
      call('d', 'file_write', { path: 7 }),
    ])
    expect(touched.files()).toEqual([])
    expect(touched.commands()).toEqual([
      {
        seq: 10,
        tool: 'bash_exec',
        command: `make ${'x'.repeat(495)}`,
        outcome: 'ok',
        exit_code: 2,
      },
      { seq: 14, tool: 'run_pytest', command: '{"args":["-x"]}', outcome: null, exit_code: null },
      { seq: 15, tool: 'file_write', command: '{"path":7}', outcome: null, exit_code: null },
    ])
  })

  it('counts a call that was under way before', () => {
    const { payload } = call('a', 'file_write', { path: 'x.py' })
    const touched = new Touched({ seq: 4, call: payload as PayloadOf<'tool_call'> })
    touched.add(6, result('a', 'ok'))
    expect(touched.files()).toEqual([
      { path: 'x.py', changed: 'yes', calls: [{ seq: 4, tool: 'file_write', outcome: 'ok' }] },
    ])
  })
})
