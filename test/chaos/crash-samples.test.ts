import { expect, test } from 'vitest'
import { CRASH_POINTS } from '../support/crash-points.ts'
import { isMissing } from '../support/missing.ts'
import { CrashSite } from './crash-site.ts'
import { violations } from './invariants.ts'
import { crashAndContinue } from './planned-runs.ts'
import { ALL_PLANS, connecting, endless, fatal, waiting } from './plans.ts'
import { Random } from './random.ts'

const SEED = Number(process.env.CRASH_SEED ?? Math.floor(Math.random() * 2 ** 32))
const SECONDS = Number(process.env.CRASH_SECONDS ?? 120)
const RUNS = 8
/** A run may never come to its point. The server is killed after this time, milliseconds. */
const PATIENCE_MS = 8_000

/** The others wait for a person or for what ends their server. */
const PLANS = ALL_PLANS.filter((plan) => ![waiting, endless, fatal].includes(plan))

test(`any plan is killed at any point, for ${SECONDS} seconds (CRASH_SECONDS), with the seed ${SEED} (CRASH_SEED)`, {
  timeout: SECONDS * 1000 + 600_000,
}, async () => {
  const random = new Random(SEED)
  const levels = isMissing('bwrap') ? ['none'] : ['none', 'namespaces']
  for (const end = performance.now() + SECONDS * 1000; performance.now() < end; ) {
    const level = random.pick(levels)
    await using site = await CrashSite.open({ RETRAI_ISOLATION: level })
    // Only containers have a network of their own.
    const plans = PLANS.filter((plan) => level === 'namespaces' || plan !== connecting)
    const cases = Array.from({ length: RUNS }, () => {
      const at = `${random.pick(CRASH_POINTS)}#${random.int(1, 5)}`
      return { plan: random.pick(plans), at: [at] }
    })
    const { runs } = await crashAndContinue(site, cases, { patienceMs: PATIENCE_MS })
    for (const [n, run] of runs.entries()) {
      const { plan, at } = cases[n] ?? {}
      expect(violations(await run.evidence()), `${plan?.name} killed ${at}`).toEqual([])
    }
  }
})
