import { afterAll, describe, test } from 'vitest'
import type { CrashPoint } from '../support/crash-points.ts'
import { AMPLE, CrashSites } from './crash-site.ts'
import { endOf, outcomesOf } from './evidence.ts'
import { violations } from './invariants.ts'
import { crashAndContinue } from './planned-runs.ts'
import { delegating, pairing } from './plans.ts'

const sites = new CrashSites()
afterAll(() => sites[Symbol.asyncDispose]())

type Case = {
  readonly at: CrashPoint | `${CrashPoint}#${number}`
  /** Outcomes of the calls of the sub-agent; left out: each is ok. */
  readonly outcomes?: readonly string[]
  /** The entries that they wrote; left out: each wrote its own. */
  readonly ledger?: readonly string[]
}

/** A sub-agent with two calls in its first turn. Its parent waits for it. */
const SUBAGENT_CASES: readonly Case[] = [
  { at: 'before append of subagent_started' },
  { at: 'after append of subagent_started' },
  { at: 'before append of run_created#2' },
  { at: 'after append of run_created#2' },
  { at: 'after model#2' },
  { at: 'before tool#2', outcomes: ['unknown', 'ok'], ledger: ['0.1'] },
  { at: 'after tool', outcomes: ['unknown', 'ok'] },
  { at: 'before append of run_end' },
  { at: 'after append of run_end' },
  { at: 'before append of tool_result#3' },
  { at: 'after append of tool_result#3' },
]

/** While the second of two sub-agents is started, and between their results. */
const PAIR_POINTS = [
  ...(['before append of subagent_started#2', 'after append of subagent_started#2'] as const),
  ...(['before append of run_created#3', 'after append of run_created#3'] as const),
  ...(['before append of tool_result', 'after append of tool_result'] as const),
]

describe.concurrent('after a kill', AMPLE, () => {
  test.for(SUBAGENT_CASES)(
    '$at, a sub-agent is not started twice, and its parent records its end',
    (row, { expect, signal }) =>
      sites.with(signal, async (site) => {
        const runs = await crashAndContinue(site, row.at, [delegating])
        const parent = await runs.evidence(delegating)
        const subagents = await runs.evidenceOfSubagents(delegating, parent)
        expect([parent, ...subagents].flatMap(violations)).toEqual([])
        expect(subagents.map(outcomesOf)).toEqual([row.outcomes ?? ['ok', 'ok']])
        expect(subagents.map(({ ledger }) => ledger)).toEqual([row.ledger ?? ['0.0', '0.1']])
        expect(outcomesOf(parent)).toEqual(['ok', 'ok'])
        expect(endOf(parent)).toMatchObject({ status: 'achieved' })
      }),
  )

  test.for(PAIR_POINTS)(
    '%s, two sub-agents side by side are each started once, and their ends are recorded in order',
    (at, { expect, signal }) =>
      sites.with(signal, async (site) => {
        const runs = await crashAndContinue(site, at, [pairing])
        const parent = await runs.evidence(pairing)
        expect(violations(parent)).toEqual([])
        const subagents = await runs.evidenceOfSubagents(pairing, parent)
        expect(subagents.map(endOf)).toMatchObject([{ status: 'achieved' }, { status: 'achieved' }])
        expect(outcomesOf(parent)).toEqual(['ok', 'ok', 'ok'])
        expect(endOf(parent)).toMatchObject({ status: 'achieved' })
      }),
  )
})
