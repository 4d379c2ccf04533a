import { errAsync, okAsync } from 'neverthrow'
import { expect, test, vi } from 'vitest'
import { type Patience, patientStore, type StreamStore } from '../../src/log/patience.ts'

const AWAY = { type: 'store_unavailable', message: 'it is away' } as const
const UNKNOWN = { type: 'outcome_unknown', message: 'no answer' } as const
const OTHER = { type: 'wrong_expected_revision', expected: 'no_stream', actual: 0 } as const

const append = vi.fn<StreamStore['append']>()
const store: StreamStore = { append, readStream: () => okAsync([]) }
const write = (patience: Patience) =>
  patientStore(store, patience).append('s', [], { expectedRevision: 'no_stream' })

test('an append is repeated until the store is back, and its recovery is reported once', async () => {
  const failures: number[] = []
  const onRecovery = vi.fn()
  append.mockReturnValueOnce(errAsync(AWAY)).mockReturnValueOnce(errAsync(UNKNOWN))
  append.mockReturnValueOnce(okAsync({ revision: 0 }))
  const wait = async (_: unknown, before: number) => failures.push(before) > 0
  expect((await write({ wait, onRecovery }))._unsafeUnwrap()).toEqual({ revision: 0 })
  expect(failures).toEqual([0, 1])
  expect(onRecovery).toHaveBeenCalledOnce()
})

test('a caller that gives up gets the last error', async () => {
  append.mockReturnValue(errAsync(AWAY))
  const wait = async (_: unknown, before: number) => before < 3
  expect((await write({ wait }))._unsafeUnwrapErr()).toBe(AWAY)
})

test('a refusal is not repeated', async () => {
  append.mockReturnValue(errAsync(OTHER))
  expect((await write({ wait: async () => true }))._unsafeUnwrapErr()).toBe(OTHER)
})

test.each([AWAY, OTHER])('an unknown outcome stays unknown after $type', async (last) => {
  append.mockReturnValueOnce(errAsync(UNKNOWN)).mockReturnValue(errAsync(last))
  const wait = async (_: unknown, before: number) => before < 1
  expect((await write({ wait }))._unsafeUnwrapErr()).toBe(UNKNOWN)
})
