import { ok } from 'neverthrow'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Checkpoint } from '../../src/api/audit.ts'
import { CheckpointTimer, type CheckpointWriter } from '../../src/checkpoints/checkpoint-writer.ts'
import { sleep } from '../../src/lib/backoff.ts'
import { checkpoint } from './checkpoint.ts'

let writes: number
let answer: Checkpoint | null
/** How long a checkpoint takes, milliseconds. */
let takesMs: number
const write: CheckpointWriter['write'] = async () => {
  writes += 1
  if (takesMs > 0) await sleep(takesMs)
  return ok(answer)
}
const log = { debug: () => {}, info: () => {}, warn: () => {} }
const start = (seconds = 60, by = write, logged = log) =>
  new CheckpointTimer(by, { seconds, log: logged, written: async () => {} })

beforeEach(() => {
  vi.useFakeTimers()
  writes = 0
  answer = checkpoint(0)
  takesMs = 0
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

test('a checkpoint is attempted at intervals', async () => {
  const timer = start()
  await vi.advanceTimersByTimeAsync(59_000)
  expect(writes).toBe(0)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(writes).toBe(1)
  await vi.advanceTimersByTimeAsync(60_000)
  expect(writes).toBe(2)
  await timer.stop()
})

test('with two seconds, what changes right after a checkpoint is in the next one two seconds later', async () => {
  const timer = start(2)
  await vi.advanceTimersByTimeAsync(2_000)
  expect(writes).toBe(1)
  timer.runEnded()
  await vi.advanceTimersByTimeAsync(2_000)
  expect(writes).toBe(2)
  await timer.stop()
})

test('soon after runs have ended, one checkpoint covers all of them, and the next one waits', async () => {
  const timer = start()
  for (let n = 0; n < 100; n += 1) timer.runEnded()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(writes).toBe(1)
  timer.runEnded()
  await vi.advanceTimersByTimeAsync(4_000)
  expect(writes).toBe(1)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(writes).toBe(2)
  await vi.advanceTimersByTimeAsync(59_000)
  expect(writes).toBe(2)
  await timer.stop()
})

test('a checkpoint that a slow disk delayed delays the next one by no more than `seconds`', async () => {
  const timer = start()
  takesMs = 30_000
  timer.runEnded()
  await vi.advanceTimersByTimeAsync(31_000)
  takesMs = 0
  timer.runEnded()
  await vi.advanceTimersByTimeAsync(59_000)
  expect(writes).toBe(1)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(writes).toBe(2)
  await timer.stop()
})

test('after a checkpoint that failed because the disk did, there is another one', async () => {
  const failing = () => Promise.reject(new Error('EIO'))
  const warned: unknown[] = []
  const timer = start(60, failing, { ...log, warn: (fields?: unknown) => warned.push(fields) })
  await vi.advanceTimersByTimeAsync(120_000)
  await timer.stop()
  expect(warned).toEqual(Array.from({ length: 3 }, () => ({ err: new Error('EIO') })))
})

test('the last checkpoint is written when the timer stops, and no more after that', async () => {
  const timer = start()
  timer.runEnded()
  await timer.stop()
  expect(writes).toBe(1)
  timer.runEnded()
  await vi.advanceTimersByTimeAsync(200_000)
  expect(writes).toBe(1)
})
