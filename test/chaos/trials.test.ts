import { expect, test } from 'vitest'
import { crashLoop, cutOff } from './trials.ts'

/** The whole trials are `npm run chaos -- --trial crash-loop` and `--trial cut-off`. */
const SMALL = { seed: 1, runs: 3, checkSeconds: 2 }

test('a server that is killed again and again during a check costs time, and no run', {
  timeout: 300_000,
}, async () => {
  const { violations, figures } = await crashLoop({ ...SMALL, kills: 5 })
  expect(violations).toEqual([])
  expect(figures.after_crash).toBeGreaterThan(0)
})

test('a server that is cut off from its store has not crashed, and no run fails of it', {
  timeout: 300_000,
}, async () => {
  const { violations, figures } = await cutOff({ ...SMALL, rounds: 1, leaseSeconds: 1 })
  expect(violations).toEqual([])
  expect(figures.lease_expired).toBeGreaterThan(0)
})
