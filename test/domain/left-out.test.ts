import { describe, expect, test } from 'vitest'
import { by, check, claim, create, given, look, reply, result } from './support.ts'

const hashes = { entries: [{ path: 'node_modules', sha256: 'a'.repeat(64) }] }
const hashed = by('p1', { type: 'record', made: { left_out_hashed: hashes } })
const snapshot = by('p1', {
  type: 'record',
  made: {
    snapshot: {
      ...{ tree: 'b'.repeat(64), files: 1, bytes: 1, packs: [] },
      left_out: [{ path: 'node_modules', why: 'ignored' }],
    },
  },
})
const begun = (changes: Parameters<typeof create>[0] = {}) => [
  create({ max_turns_per_iteration: 3, ...changes }),
  claim(),
]
const working = [...begun(), snapshot, check(false), look]
const asked = (tool: string) => [...working, reply([tool])]
const REFUSED = { type: 'out_of_step', command: 'record' } as const

describe('what snapshots leave out is hashed', () => {
  test('once, while the first call that may write is open, which stays open', () => {
    given(...asked('bash_exec')).each([hashed, '1 left_out_hashed'])
    const { state } = given(...asked('bash_exec'), hashed)
    expect(state?.phase).toMatchObject({ type: 'acting', open: { tool: 'bash_exec' } })
    expect(state?.snapshot?.hashedAt).toBe(state?.seq)
    given(...asked('bash_exec'), hashed).each([hashed, { ...REFUSED, phase: 'acting' }])
    const later = given(...asked('bash_exec'), hashed, result('c0', 'bash_exec'), snapshot)
    expect(later.state?.snapshot?.hashedAt).toBe(state?.seq)
  })

  test('also after calls that read, or that were rejected before they began', () => {
    const read = [...asked('file_read'), result('c0', 'file_read')]
    given(...read, hashed)
    const rejected = result('c0', 'bash_exec', 'no such tool', 'rejected')
    given(...asked('bash_exec'), rejected, hashed)
  })

  test('not after a call that may have written, or if nobody asks for it, or without a snapshot', () => {
    const late = given(...asked('bash_exec'), result('c0', 'bash_exec'))
    expect(late.state?.snapshot?.hashedAt).toBeNull()
    late.when(hashed).refused({ ...REFUSED, phase: 'planning' })
    given(...begun({ on_tampering: 'off' }), snapshot).each([
      hashed,
      { ...REFUSED, phase: 'evaluating' },
    ])
    given(...begun()).each([hashed, { ...REFUSED, phase: 'evaluating' }])
  })
})
