import { readdir } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { isMissing } from '../support/missing.ts'
import { endOf, outcomesOf, recordsOf } from './evidence.ts'
import { violations } from './invariants.ts'
import { type Case, crashed, type PlannedRun } from './planned-runs.ts'
import { connecting, judged } from './plans.ts'

/** The first two checks of the goal are made in the project itself. There is a copy of the project at these moments. */
const COPIED = [
  'after clean copy',
  'after goal check#3',
  'after clean copy#3',
  'after goal check#5',
]
const NOT_COPIED = [
  'after goal check#2',
  'before clean copy',
  'before clean copy#2',
  'before append of final_check',
  'after append of final_check',
]

const VERDICT = {
  as_is: 'achieved',
  original_checks: 'achieved',
  accept: 'achieved',
  dependencies: 'same',
  tampering: [{ path: '.github/workflows/a.yml', change: 'added' }],
}

/** The copies of the project of a run in its data folder, as paths. */
async function copiesOf({ site, runId }: PlannedRun): Promise<string[]> {
  const paths = await readdir(site.dataDir, { recursive: true })
  return paths.filter((path) => path.includes(`/copies-${runId}/`) && !/copies-.*\/.*\//.test(path))
}

const judgedAt = (points: readonly string[]) => points.map((at) => ({ plan: judged, at: [at] }))
/** In a container, what the last copy leaves is another thing, and the rest is the same. Only there, connections are seen. */
const LEVELS = [
  { level: 'none', isMissing: false, cases: judgedAt([...COPIED, ...NOT_COPIED]), connections: [] },
  {
    level: 'namespaces',
    isMissing: isMissing('bwrap'),
    cases: judgedAt(COPIED.slice(-2)),
    connections: ['before', 'after'].map((when) => {
      return { plan: connecting, at: [`${when} append of network_connection`] }
    }),
  },
]
/** Those of all verdicts. */
const trees = new Set<unknown>()

describe.each(LEVELS)(
  'at the level $level',
  ({ level, isMissing: isSkipped, cases, connections }) => {
    describe.skipIf(isSkipped)('after a kill', () => {
      const all: readonly Case[] = [...cases, ...connections]
      const played = crashed(all, { RETRAI_ISOLATION: level }, async (runs) => {
        const isCopied = await Promise.all(
          runs.map(async (run) => (await copiesOf(run)).length > 0),
        )
        expect(isCopied).toEqual(all.map(({ at: [point = ''] }) => COPIED.includes(point)))
      })

      test.for(cases)('$at, the verdict is the same, and no copy is left', async (one) => {
        const run = played(one)
        const evidence = await run.evidence()
        expect(violations(evidence)).toEqual([])
        expect(evidence.ledger).toEqual(['0.0'])
        expect(endOf(evidence)).toMatchObject({ status: 'achieved', verdict: VERDICT })
        const [tree] = recordsOf(evidence).flatMap((record) =>
          record.kind === 'run_end' ? [record.payload.verdict?.tree] : [],
        )
        trees.add(tree)
        expect(trees.size).toBe(1)
        await expect.poll(() => copiesOf(run)).toEqual([])
      })

      test.for(connections)('$at, the run continues, and the call is not repeated', async (one) => {
        const evidence = await played(one).evidence()
        expect(violations(evidence)).toEqual([])
        expect(evidence.ledger).toEqual(['0.0'])
        expect(outcomesOf(evidence)).toEqual(['unknown'])
        expect(endOf(evidence)).toMatchObject({ status: 'achieved', iterations: 1 })
      })
    })
  },
)
