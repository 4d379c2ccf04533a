import { readdir } from 'node:fs/promises'
import { afterAll, describe, test } from 'vitest'
import type { CrashPoint } from '../support/crash-points.ts'
import { isMissing } from '../support/missing.ts'
import { AMPLE, type CrashSite, CrashSites } from './crash-site.ts'
import { endOf, recordsOf } from './evidence.ts'
import { violations } from './invariants.ts'
import { expectKilled, PlannedRuns } from './planned-runs.ts'
import { judged } from './plans.ts'

type Case = {
  readonly at: CrashPoint | `${CrashPoint}#${number}`
  /** Whether a copy of the project is there at this moment. */
  readonly copied: boolean
}

/** The first two checks of the goal are made in the project itself. */
const CASES: readonly Case[] = [
  { at: 'after goal check#2', copied: false },
  { at: 'before clean copy', copied: false },
  { at: 'after clean copy', copied: true },
  { at: 'after goal check#3', copied: true },
  { at: 'before clean copy#2', copied: false },
  { at: 'after clean copy#2', copied: true },
  { at: 'after goal check#4', copied: true },
  { at: 'before clean copy#3', copied: false },
  { at: 'after clean copy#3', copied: true },
  { at: 'after goal check#5', copied: true },
  { at: 'before append of final_check', copied: false },
  { at: 'after append of final_check', copied: false },
]

const VERDICT = {
  ...{ as_is: 'achieved', original_checks: 'achieved', accept: 'achieved', dependencies: 'same' },
  tampering: [{ path: '.github/workflows/a.yml', change: 'added' }],
}

/** The copies of projects in a data folder, as paths. */
async function copiesIn({ dataDir }: CrashSite): Promise<string[]> {
  const paths = await readdir(dataDir, { recursive: true })
  return paths.filter((path) => /\/copies-[^/]+\/[^/]+$/.test(path))
}

/** In a container, what the last copy leaves is another thing, and the rest is the same. */
const LEVELS = [
  { level: 'none', needs: null, cases: CASES },
  { level: 'namespaces', needs: 'bwrap', cases: CASES.filter(({ copied }) => copied).slice(-2) },
] as const
/** Those of all verdicts. */
const trees = new Set<unknown>()

describe.each(LEVELS)('at the level $level', ({ level, needs, cases }) => {
  const sites = new CrashSites({ RETRAI_ISOLATION: level })
  afterAll(() => sites[Symbol.asyncDispose]())

  describe.skipIf(needs !== null && isMissing(needs)).concurrent('after a kill', AMPLE, () => {
    test.for(cases)(
      '$at, the verdict is the same, and no copy is left',
      ({ at, copied }, { expect, signal }) =>
        sites.with(signal, async (site) => {
          const runs = await PlannedRuns.on(site, [judged])
          site.crashAt(at)
          await runs.play()
          await expectKilled(site)
          expect((await copiesIn(site)).length > 0).toBe(copied)
          site.restart()
          await runs.play()
          const evidence = await runs.evidence(judged)
          expect(violations(evidence)).toEqual([])
          expect(evidence.ledger).toEqual(['0.0'])
          expect(endOf(evidence)).toMatchObject({ status: 'achieved', verdict: VERDICT })
          trees.add(
            recordsOf(evidence)
              .flatMap((r) => (r.kind === 'run_end' ? r.payload.verdict?.tree : []))
              .at(0),
          )
          expect(trees.size).toBe(1)
          await expect.poll(() => copiesIn(site)).toEqual([])
        }),
    )
  })
})
