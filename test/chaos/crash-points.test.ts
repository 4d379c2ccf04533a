import { afterAll, describe, expect, test } from 'vitest'
import type { Kind } from '../../src/domain/records.ts'
import { CRASH_POINTS, type CrashPoint } from '../support/crash-points.ts'
import { isMissing } from '../support/missing.ts'
import type { Client } from './client.ts'
import { AMPLE, CrashSites } from './crash-site.ts'
import { endOf, outcomesOf, recordsOf } from './evidence.ts'
import { violations } from './invariants.ts'
import { crashAndContinue, expectKilled, PlannedRuns } from './planned-runs.ts'
import {
  asked,
  calling,
  connecting,
  delegating,
  guarded,
  type Plan,
  pausing,
  reader,
  stuck,
  talkative,
  waiting,
  writer,
} from './plans.ts'

const sites = new CrashSites()
afterAll(() => sites[Symbol.asyncDispose]())

/** The run still waits for a person. Two people give the same answer at the same time, and one is accepted. */
async function abortTwice(client: Client, runId: string): Promise<void> {
  const { body } = (await client.get(`/api/runs/${runId}`)) ?? {}
  expect(body).toMatchObject({ status: 'awaiting_human', progress: { iteration: 1 } })
  const abort = () => client.send('POST', `/api/runs/${runId}/resume`, { decision: 'abort' })
  const answers = await Promise.all([abort(), abort()])
  expect(answers.map((answer) => answer?.status).toSorted()).toEqual([200, 409])
}

/** Without isolation, commands use the network of the machine, and nothing sees their connections. */
const ISOLATED = { RETRAI_ISOLATION: 'namespaces' }
const isOfTheQueue = (point: CrashPoint): boolean => point.endsWith('run_queued')
const isOfServers = (point: CrashPoint): boolean => point.endsWith('mcp_tools_listed')
/** test/chaos/crash-outcomes.test.ts has these, or they are in one append with these. */
const isOfOutcomes = (point: CrashPoint): boolean =>
  /append of (?:assistant_message|llm_usage|tool_call|tool_result|step_start|goal_check|final_check|iteration_complete|error|run_end)$/.test(
    point,
  )
/** test/reliability/carried-files.test.ts has these. */
const isOfFiles = (point: CrashPoint): boolean =>
  /(?:copy|carry|project_copied|changes_applied|files_rolled_back|copy_discarded)$/.test(point)
/** test/reliability/retention.test.ts has these. */
const isOfRetention = (point: CrashPoint): boolean => /remov/.test(point)
const isOfTheProxy = (point: CrashPoint): boolean => point.endsWith('network_connection')

const ENDS: ReadonlyMap<Plan, object> = new Map([
  [writer, { status: 'achieved' }],
  [reader, { status: 'failed', iterations: 1 }],
  [asked, { status: 'achieved' }],
  [waiting, { status: 'aborted', iterations: 1 }],
  [pausing, { status: 'achieved' }],
  [stuck, { status: 'failed', iterations: 1, reason: expect.stringContaining('no progress') }],
  [talkative, { status: 'achieved' }],
  [guarded, { status: 'achieved' }],
  [delegating, { status: 'achieved' }],
])
/** What appends the kinds of records that not every run has. */
const APPENDED_BY: readonly (readonly [Plan, readonly Kind[]])[] = [
  [reader, ['llm_retry']],
  [waiting, ['human_check_required']],
  [asked, ['human_check_response', 'run_config_changed', 'user_message', 'guard_changed']],
  [pausing, ['run_paused', 'run_resumed']],
  [stuck, ['agent_stuck', 'run_ending', 'run_summary']],
  [talkative, ['context_compacted']],
  [guarded, ['approval_required', 'approval_response']],
  [delegating, ['subagent_started']],
]

/**
 * At an effect, a run that waits and three of the others, in turn, so that each plan is killed at several effects. At an
 * append, the plan that makes it.
 */
function plansAt(point: CrashPoint): readonly Plan[] {
  const [, kind] = point.split(' append of ')
  if (kind === undefined) {
    const others = [...ENDS.keys()].filter((plan) => plan !== waiting)
    const from = 3 * CRASH_POINTS.indexOf(point)
    return [waiting, ...[0, 1, 2].map((n) => others[(from + n) % others.length] ?? writer)]
  }
  const [needed = writer] = APPENDED_BY.find(([, kinds]) => kinds.some((one) => one === kind)) ?? []
  return [needed]
}

describe.concurrent('a server that is killed', AMPLE, () => {
  test.for(
    CRASH_POINTS.filter(
      (one) =>
        ![isOfOutcomes, isOfTheProxy, isOfTheQueue, isOfServers, isOfFiles, isOfRetention].some(
          (isOther) => isOther(one),
        ),
    ),
  )('%s continues all its runs', (point, { expect, signal }) =>
    sites.with(signal, async (site) => {
      const plans = plansAt(point)
      const runs = await crashAndContinue(site, point, plans)
      if (plans.includes(waiting)) await abortTwice(await site.client(), runs.runId(waiting))
      const evidence = await Promise.all(plans.map((plan) => runs.evidence(plan)))
      expect(evidence.flatMap(violations)).toEqual([])
      expect(evidence.map(endOf)).toMatchObject(plans.map((plan) => ENDS.get(plan)))
    }),
  )

  test.for(CRASH_POINTS.filter(isOfTheQueue))(
    '%s continues its run once the project is back',
    (point, { expect, signal }) =>
      sites.with(signal, async (site) => {
        const runs = await PlannedRuns.on(site, [writer])
        site.crashAt('after append of run_created')
        await runs.play()
        await expectKilled(site)
        const moveBack = await runs.withoutProject(writer)
        site.restart(point)
        await expectKilled(site)
        await moveBack()
        site.restart()
        await runs.play()
        const evidence = await runs.evidence(writer)
        expect(violations(evidence)).toEqual([])
        expect(recordsOf(evidence).some(({ kind }) => kind === 'run_queued')).toBe(
          point.startsWith('after'),
        )
        expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
      }),
  )

  test.for([
    ...CRASH_POINTS.filter(isOfServers).map((point) => ({ point, outcome: 'ok' })),
    ...(['before tool', 'after tool'] as const).map((point) => ({ point, outcome: 'unknown' })),
  ])(
    '$point continues its run with MCP servers: the result of the call is $outcome',
    ({ point, outcome }, { expect, signal }) =>
      sites.with(signal, async (site) => {
        const runs = await crashAndContinue(site, point, [calling])
        const evidence = await runs.evidence(calling)
        expect(violations(evidence)).toEqual([])
        expect(outcomesOf(evidence)[0]).toBe(outcome)
        expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
        const listed = recordsOf(evidence).filter(({ kind }) => kind === 'mcp_tools_listed')
        expect(listed).toHaveLength(1)
      }),
  )

  test.skipIf(isMissing('bwrap')).for(CRASH_POINTS.filter(isOfTheProxy))(
    '%s continues its run, and does not repeat the call',
    async (point, { expect, signal }) => {
      await using isolated = new CrashSites(ISOLATED)
      await isolated.with(signal, async (site) => {
        const runs = await crashAndContinue(site, point, [connecting])
        const evidence = await runs.evidence(connecting)
        expect(violations(evidence)).toEqual([])
        expect(evidence.ledger).toEqual(['0.0'])
        expect(outcomesOf(evidence)).toEqual(['unknown'])
        expect(endOf(evidence)).toMatchObject({ status: 'achieved', iterations: 1 })
      })
    },
  )
})
