import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { CrashPoint } from '../support/crash-points.ts'
import { canMakeGroups, smallGroup } from '../support/small-group.ts'
import { AMPLE, type CrashSite, CrashSites } from './crash-site.ts'
import { endOf, outcomesOf } from './evidence.ts'
import { processesIn } from './inspection.ts'
import { violations } from './invariants.ts'
import { crashAndContinue, expectKilled, PlannedRuns } from './planned-runs.ts'
import { endless, fatal, reader, writer } from './plans.ts'

const MIB = 1024 * 1024

const sites = new CrashSites()
afterAll(() => sites[Symbol.asyncDispose]())

describe.concurrent('if the process that runs commands dies', AMPLE, () => {
  test('the result of its command is unknown, and the command is not run again and leaves nothing', ({
    expect,
    signal,
  }) =>
    sites.with(signal, async (site) => {
      const runs = await PlannedRuns.on(site, [fatal])
      await runs.play()
      expect(await processesIn(runs.projectOf(fatal))).toEqual([])
      const evidence = await runs.evidence(fatal)
      expect(violations(evidence)).toEqual([])
      expect(outcomesOf(evidence)).toEqual(['unknown', 'ok'])
      expect(evidence.ledger).toEqual(['0.0', '1.0'])
      expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
    }))
})

/** A server dies in a command that does not end by itself, and another server continues, and does not run it again. */
const dieInCommand = (
  signal: AbortSignal,
  kill: (site: CrashSite) => Promise<void>,
  at?: string,
): Promise<void> =>
  sites.with(signal, async (site) => {
    const runs = await PlannedRuns.on(site, [endless])
    if (at !== undefined) site.crashAt(at)
    const playing = runs.play()
    await expect
      .poll(() => existsSync(join(runs.projectOf(endless), 'ledger')), { timeout: 60_000 })
      .toBe(true)
    await kill(site)
    await expectKilled(site)
    await playing
    expect(await processesIn(runs.projectOf(endless))).toEqual([])
    site.restart()
    await runs.play()
    const evidence = await runs.evidence(endless)
    expect(violations(evidence)).toEqual([])
    expect(outcomesOf(evidence)).toEqual(['unknown', 'ok'])
    expect(evidence.ledger).toEqual(['0.0', '1.0'])
    expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
  })

describe('if a server dies in a command', AMPLE, () => {
  test('while its runner is stopped, the result is unknown, and the command is not run again and leaves nothing', async ({
    signal,
  }) => {
    const stopped = async ({ server }: CrashSite) => {
      await expect.poll(() => server.runnerState, { timeout: 60_000 }).toBe('T')
      server.kill('SIGKILL')
    }
    await dieInCommand(signal, stopped, 'runner stopped during output')
  })

  test.skipIf(!canMakeGroups)(
    'because the kernel kills it for lack of memory, the result is unknown, and the command is not run again and leaves nothing',
    async ({ signal }) => {
      await dieInCommand(signal, async ({ server }) => {
        const group = smallGroup(MIB)
        group.add(server.pid ?? 0)
        const url = await server.url
        const isGone = server.exit.then(() => true)
        const ask = () => fetch(`${url}/openapi.json`).then((answer) => answer.text())
        while (
          !(await Promise.race([
            isGone,
            ask()
              .then(() => false)
              .catch(() => isGone),
          ]))
        );
        expect(group.kills()).toBeGreaterThan(0)
      })
    },
  )
})

type Case = {
  readonly at: CrashPoint | `${CrashPoint}#${number}`
  /** Outcomes of the calls; left out: each is ok. */
  readonly outcomes?: readonly string[]
  /** The entries that they wrote; left out: each wrote its own. */
  readonly ledger?: readonly string[]
  /** How many requests the model got for each of its turns; left out: one. */
  readonly asked?: readonly number[]
}

const FIRST_IN_DOUBT = ['unknown', 'ok', 'ok']
const SECOND_IN_DOUBT = ['ok', 'unknown', 'ok']
const AGAIN = [2, 1, 1]

/** Two calls in the first turn, one in the second; each appends its own name to a file. */
const WRITER_CASES: readonly Case[] = [
  { at: 'before model' },
  { at: 'after model', asked: AGAIN },
  { at: 'before append of assistant_message', asked: AGAIN },
  { at: 'before append of tool_call', asked: AGAIN },
  { at: 'after append of tool_call', outcomes: FIRST_IN_DOUBT, ledger: ['0.1', '1.0'] },
  { at: 'before tool', outcomes: FIRST_IN_DOUBT, ledger: ['0.1', '1.0'] },
  { at: 'after tool', outcomes: FIRST_IN_DOUBT },
  { at: 'before append of tool_result', outcomes: FIRST_IN_DOUBT },
  { at: 'after append of tool_result', outcomes: SECOND_IN_DOUBT, ledger: ['0.0', '1.0'] },
  { at: 'after tool#2', outcomes: SECOND_IN_DOUBT },
  { at: 'before append of tool_result#2', outcomes: SECOND_IN_DOUBT },
  { at: 'after append of tool_result#2' },
  { at: 'after goal check' },
  { at: 'before append of goal_check' },
  { at: 'after append of goal_check' },
  { at: 'before append of goal_check#2' },
  { at: 'before append of run_end' },
  { at: 'after append of run_end' },
]

/** Two calls that only read, after one failure of the model; then a model that refuses. */
const READER_CASES: readonly Case[] = [
  { at: 'before tool' },
  { at: 'after tool' },
  { at: 'after append of tool_call#2' },
  { at: 'before append of llm_retry' },
  { at: 'before append of error', asked: [2, 2] },
  { at: 'after append of error' },
]

describe.concurrent('after a kill', AMPLE, () => {
  test.for(WRITER_CASES)('$at, no call that writes is run twice', (row, { expect, signal }) =>
    sites.with(signal, async (site) => {
      const runs = await crashAndContinue(site, row.at, [writer])
      const evidence = await runs.evidence(writer)
      expect(violations(evidence)).toEqual([])
      expect(outcomesOf(evidence)).toEqual(row.outcomes ?? ['ok', 'ok', 'ok'])
      expect(evidence.ledger).toEqual(row.ledger ?? ['0.0', '0.1', '1.0'])
      expect(runs.asked(writer)).toEqual(row.asked ?? [1, 1, 1])
    }),
  )

  test.for(READER_CASES)('$at, calls that only read are run again', (row, { expect, signal }) =>
    sites.with(signal, async (site) => {
      const runs = await crashAndContinue(site, row.at, [reader])
      const evidence = await runs.evidence(reader)
      expect(violations(evidence)).toEqual([])
      expect(outcomesOf(evidence)).toEqual(['ok', 'ok'])
      expect(runs.asked(reader)).toEqual(row.asked ?? [2, 1])
    }),
  )
})
