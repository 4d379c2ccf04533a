import { describe, expect, test } from 'vitest'
import { begun, check, given, look, outOfStep, record, reply, result, story } from './support.ts'

const left_out_hashed = { entries: [{ path: 'node_modules', sha256: 'a'.repeat(64) }] }
const hashed = record({ left_out_hashed })
const left_out = [{ path: 'node_modules', why: 'ignored' as const }]
const snapshot = record({
  snapshot: { tree: 'b'.repeat(64), files: 1, bytes: 1, packs: [], left_out },
})
const asked = (tool: string) => [...begun(), snapshot, check(false), look, reply([tool])]

describe('what snapshots leave out is hashed', () => {
  test('once, while the first call that may write is open, which stays open', () => {
    story(asked('bash_exec'), [hashed, '1 left_out_hashed'], [hashed, outOfStep('acting')])
    const { state } = given(...asked('bash_exec'), hashed)
    expect(state?.phase).toMatchObject({ type: 'acting', open: { tool: 'bash_exec' } })
    expect(state?.snapshot?.hashedAt).toBe(state?.seq)
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
    late.each([hashed, outOfStep('planning')])
    for (const steps of [[...begun({ on_tampering: 'off' }), snapshot], begun()]) {
      given(...steps).each([hashed, outOfStep('evaluating')])
    }
  })
})
