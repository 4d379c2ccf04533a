import { describe, expect, test } from 'vitest'
import { startStandIn } from '../support/eventstore-stand-in/index.ts'
import { chaosRun } from './chaos-run.ts'

/** Repeat a failure with `npm run chaos -- --seed <seed> --store <store> --kills 4 --runs 4`. */
const RANDOM = Math.floor(Math.random() * 2 ** 32)
const SHORT = { kills: 4, seconds: 10, runs: 4 }

describe.concurrent('a short chaos run', () => {
  test.for([
    { store: 'embedded', seed: 1 },
    { store: 'embedded', seed: RANDOM },
    { store: 'stand-in', seed: 1 },
    { store: 'stand-in', seed: RANDOM },
  ] as const)('over the $store store with seed $seed', { timeout: 300_000 }, async (row) => {
    const report = await chaosRun({ ...SHORT, ...row })
    console.log(report.text)
    expect(report.violations).toEqual([])
  })

  test('over an EventStoreDB that three servers share', { timeout: 300_000 }, async ({
    onTestFinished,
  }) => {
    const standIn = await startStandIn()
    onTestFinished(() => standIn.stop())
    const options = { seed: 1, store: 'eventstoredb', url: standIn.connectionString } as const
    expect((await chaosRun({ ...SHORT, ...options })).violations).toEqual([])
  })
})
