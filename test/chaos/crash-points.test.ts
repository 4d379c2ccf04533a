import { describe, expect, test } from 'vitest'
import type { Kind } from '../../src/domain/records.ts'
import { CRASH_POINTS, type CrashPoint } from '../support/crash-points.ts'
import { CrashSite } from './crash-site.ts'
import { endOf, outcomesOf, recordsOf } from './evidence.ts'
import { violations } from './invariants.ts'
import { crashed, expectKilled, PlannedRun, play } from './planned-runs.ts'
import {
  asked,
  calling,
  delegating,
  guarded,
  type Plan,
  pairing,
  pausing,
  reader,
  stuck,
  talkative,
  waiting,
  writer,
} from './plans.ts'

type At = CrashPoint | `${CrashPoint}#${number}`

/** What of a run is compared; left out: anything. */
type Shown = {
  readonly end?: object
  /** Of its calls. */
  readonly outcomes?: readonly string[]
  /** The entries that its calls wrote. */
  readonly ledger?: readonly string[]
  /** How many requests the model got for each of its turns. */
  readonly asked?: readonly number[]
  /** How often it has listed the tools of MCP servers. */
  readonly listed?: number
}
type Case = { readonly plan: Plan; readonly at: readonly At[]; readonly shows: Shown }

const at = (plan: Plan, shows: Shown, ...points: readonly At[]): Case[] =>
  points.map((point) => ({ plan, at: [point], shows }))

/** The same right before and right after a step. */
const around = (plan: Plan, shows: Shown, ...steps: readonly string[]): Case[] =>
  steps.flatMap((step) => at(plan, shows, `before ${step}` as At, `after ${step}` as At))

const achieved = { end: { status: 'achieved' } }
const WROTE = { ...achieved, ledger: ['0.0', '0.1', '1.0'] }
const CERTAIN = { ...WROTE, outcomes: ['ok', 'ok', 'ok'], asked: [1, 1, 1] }
const FIRST_IN_DOUBT = { ...WROTE, outcomes: ['unknown', 'ok', 'ok'], asked: [1, 1, 1] }
const SECOND_IN_DOUBT = { ...WROTE, outcomes: ['ok', 'unknown', 'ok'], asked: [1, 1, 1] }
const REFUSED = { end: { status: 'failed', iterations: 1 }, outcomes: ['ok', 'ok'] }
const STUCK = { status: 'failed', iterations: 1, reason: expect.stringContaining('no progress') }

/** The points at which something is in doubt, and some at which nothing is. */
const DOUBTS: readonly Case[] = [
  // Two calls in the first turn, one in the second; each appends its own name to a file.
  ...at(writer, CERTAIN, 'before model', 'after append of tool_result#2', 'after goal check'),
  ...at(writer, CERTAIN, 'before append of goal_check', 'after append of goal_check'),
  ...at(writer, CERTAIN, 'before append of goal_check#2'),
  ...at(writer, CERTAIN, 'before append of run_end', 'after append of run_end'),
  ...at(writer, { ...CERTAIN, asked: [2, 1, 1] }, 'after model', 'before append of tool_call'),
  ...at(writer, { ...CERTAIN, asked: [2, 1, 1] }, 'before append of assistant_message'),
  ...at(
    writer,
    { ...FIRST_IN_DOUBT, ledger: ['0.1', '1.0'] },
    ...(['before tool', 'after append of tool_call'] as const),
  ),
  ...at(writer, FIRST_IN_DOUBT, 'after tool', 'before append of tool_result'),
  ...at(writer, { ...SECOND_IN_DOUBT, ledger: ['0.0', '1.0'] }, 'after append of tool_result'),
  ...at(writer, SECOND_IN_DOUBT, 'after tool#2', 'before append of tool_result#2'),
  // Two calls that only read are run again, after one failure of the model; then the model refuses.
  ...at(reader, { ...REFUSED, asked: [2, 1] }, 'before tool', 'after tool'),
  ...at(reader, { ...REFUSED, asked: [2, 1] }, 'after append of tool_call#2'),
  ...at(reader, { ...REFUSED, asked: [2, 1] }, 'before append of llm_retry'),
  ...at(reader, { ...REFUSED, asked: [2, 1] }, 'after append of error'),
  ...at(reader, { ...REFUSED, asked: [2, 2] }, 'before append of error'),
  // A call of an MCP server is not repeated.
  ...at(calling, { ...achieved, listed: 1, outcomes: ['unknown', 'ok'] }, 'before tool'),
  ...at(calling, { ...achieved, listed: 1, outcomes: ['unknown', 'ok'] }, 'after tool'),
]

/** What appends the kinds of records that not every run has, and what it shows. */
const APPENDED_BY: readonly (readonly [Plan, Shown, readonly Kind[]])[] = [
  [reader, REFUSED, ['llm_retry']],
  [asked, achieved, ['human_check_response', 'run_config_changed', 'user_message']],
  [asked, achieved, ['guard_changed']],
  [pausing, achieved, ['run_paused', 'run_resumed']],
  [stuck, { end: STUCK }, ['agent_stuck', 'run_ending', 'run_summary']],
  [talkative, achieved, ['context_compacted']],
  [guarded, achieved, ['approval_required', 'approval_response']],
  [calling, { ...achieved, listed: 1 }, ['mcp_tools_listed']],
]

/** Points with tests of their own: below, in crash-verdict.test.ts, and in carried-files and retention of test/reliability. */
const ELSEWHERE: readonly RegExp[] = [
  /(?:run_queued|human_check_required|subagent_started)$/,
  /(?:clean copy|network_connection|final_check)$/,
  /(?: copy|carry|project_copied|changes_applied|files_rolled_back|copy_discarded)$/,
  /remov/,
]

const ALL_DOUBTS = new Set<At>(DOUBTS.flatMap(({ at }) => at))
const OTHER_POINTS = CRASH_POINTS.filter(
  (point) => !ALL_DOUBTS.has(point) && !ELSEWHERE.some((names) => names.test(point)),
)
/** A run that was killed before one of these does not come to it again. */
const ONCE = /(?:guard_changed|left_out_hashed|llm_retry)$/
const planAt = (step: string): Pick<Case, 'plan' | 'shows'> => {
  const isAppend = (kind: Kind): boolean => step.endsWith(`append of ${kind}`)
  const [plan = writer, shows = achieved] =
    APPENDED_BY.find(([, , kinds]) => kinds.some(isAppend)) ?? []
  return { plan, shows }
}
const STEPS = new Set(OTHER_POINTS.map((point) => point.replace(/^\w+ /, '')))
/** Points that no case above has. Where that is possible, a run is killed before a step, and then after it. */
const OTHERS: readonly Case[] = [...STEPS]
  .filter((step) => !ONCE.test(step))
  .map((step) => {
    return { ...planAt(step), at: [`before ${step}`, `after ${step}`] as At[] }
  })
const SINGLE: readonly Case[] = OTHER_POINTS.filter((point) => ONCE.test(point)).map((point) => ({
  ...planAt(point),
  at: [point],
}))

describe.each([{ cases: [...DOUBTS, ...SINGLE] }, { cases: OTHERS }])(
  'a server that is killed',
  ({ cases }) => {
    const played = crashed(cases)

    test.for(cases)('$at continues the run of the $plan.name', async (one) => {
      const run = played(one)
      const evidence = await run.evidence()
      expect(violations(evidence)).toEqual([])
      const records = recordsOf(evidence)
      expect({
        end: endOf(evidence),
        outcomes: outcomesOf(evidence),
        ledger: evidence.ledger,
        asked: run.asked(),
        listed: records.filter(({ kind }) => kind === 'mcp_tools_listed').length,
      }).toMatchObject(one.shows)
    })
  },
)

const ENDED = { outcomes: ['ok', 'ok'], ledger: ['0.0', '0.1'] }

describe('a server that is killed while a run waits for a sub-agent or a person', () => {
  // A sub-agent with two calls in its first turn. Its parent waits for it.
  const CHILDREN: readonly Case[] = [
    ...around(delegating, ENDED, 'append of subagent_started', 'append of run_created#2'),
    ...around(delegating, ENDED, 'append of run_end', 'append of tool_result#3'),
    ...at(delegating, ENDED, 'after model#2'),
    ...at(delegating, { outcomes: ['unknown', 'ok'], ledger: ['0.1'] }, 'before tool#2'),
    ...at(delegating, { ...ENDED, outcomes: ['unknown', 'ok'] }, 'after tool'),
  ]
  // While the second of two sub-agents side by side is started, and between their results.
  const PAIRS: readonly Case[] = [
    ...around(pairing, {}, 'append of subagent_started#2', 'append of run_created#3'),
    ...around(pairing, {}, 'append of tool_result'),
  ]
  const WAITING = around(waiting, {}, 'append of human_check_required')
  const CASES = [...CHILDREN, ...PAIRS]
  const played = crashed([...CASES, ...WAITING])

  test.for(WAITING)('$at, still waits for one answer', async (one) => {
    const run = played(one)
    const client = await run.site.client()
    const { body } = (await client.get(`/api/runs/${run.runId}`)) ?? {}
    expect(body).toMatchObject({ status: 'awaiting_human', progress: { iteration: 1 } })
    const abort = () => client.send('POST', `/api/runs/${run.runId}/resume`, { decision: 'abort' })
    const answers = await Promise.all([abort(), abort()])
    expect(answers.map((answer) => answer?.status).toSorted()).toEqual([200, 409])
    const evidence = await run.evidence()
    expect(violations(evidence)).toEqual([])
    expect(endOf(evidence)).toMatchObject({ status: 'aborted', iterations: 1 })
  })

  test.for(CASES)(
    '$at, starts each sub-agent of the $plan.name once, and the parent records its end',
    async (one) => {
      const run = played(one)
      const parent = await run.evidence()
      const subagents = await run.evidenceOfSubagents(parent)
      expect([parent, ...subagents].flatMap(violations)).toEqual([])
      const seen = subagents.map((evidence) => {
        return { end: endOf(evidence), outcomes: outcomesOf(evidence), ledger: evidence.ledger }
      })
      const count = one.plan === pairing ? 2 : 1
      expect(seen).toMatchObject(Array(count).fill({ ...achieved, ...one.shows }))
      expect(outcomesOf(parent)).toEqual(Array(count + 1).fill('ok'))
      expect(endOf(parent)).toMatchObject(achieved.end)
    },
  )
})

test('a server that is killed while a run is queued continues it once its project is back', async () => {
  await using site = await CrashSite.open()
  const runs = await Promise.all([writer, writer].map((plan) => PlannedRun.on(site, plan)))
  const each = (...points: readonly CrashPoint[]) =>
    runs.map(({ project }, n) => `${points[n % points.length]} in ${project}`)
  site.crashAt(...each('after append of run_created'))
  await play(site, runs)
  await expectKilled(site)
  const back = await Promise.all(runs.map((run) => run.withoutProject()))
  site.restart(...each('before append of run_queued', 'after append of run_queued'))
  await expectKilled(site)
  for (const moveBack of back) await moveBack()
  site.restart()
  await play(site, runs)
  const evidence = await Promise.all(runs.map((run) => run.evidence()))
  expect(evidence.flatMap(violations)).toEqual([])
  expect(evidence.map(endOf)).toMatchObject([achieved.end, achieved.end])
  const isQueued = evidence.map((one) => recordsOf(one).some(({ kind }) => kind === 'run_queued'))
  expect(isQueued).toEqual([false, true])
})
