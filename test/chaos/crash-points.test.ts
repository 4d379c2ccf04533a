import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Kind, RunRecord } from '../../src/domain/records.ts'
import { CRASH_POINTS, type CrashPoint } from '../../src/server/crash-points.ts'
import { isMissing } from '../support/missing.ts'
import { canMakeGroups, smallGroup } from '../support/small-group.ts'
import { Client } from './client.ts'
import type { Evidence } from './evidence.ts'
import { processesIn } from './inspection.ts'
import { violations } from './invariants.ts'
import { PlannedRuns } from './planned-runs.ts'
import {
  asked,
  calling,
  connecting,
  delegating,
  endless,
  fatal,
  guarded,
  type Plan,
  pairing,
  reader,
  stuck,
  talkative,
  waiting,
  writer,
} from './plans.ts'
import type { Server } from './server-process.ts'

const MIB = 1024 * 1024
const never = new AbortController().signal
/** Several servers start at the same time, on a machine that may be busy. */
const AMPLE = { timeout: 240_000 }

async function alive(server: Server): Promise<Client> {
  const url = await server.url
  if (url === null) throw new Error(`the server did not start:\n${server.output}`)
  return new Client(url, never)
}

const recordsOf = ({ events }: Evidence): RunRecord[] => events.map(({ data }) => JSON.parse(data))
const endOf = (evidence: Evidence) => recordsOf(evidence).at(-1)?.payload
const outcomesOf = (evidence: Evidence) =>
  recordsOf(evidence).flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))

/** Lets a server die at a crash point, continues with the next server, and reads everything back. */
async function crashAndContinue(
  runs: PlannedRuns,
  at: string,
  plans: readonly Plan[],
  settings: Readonly<Record<string, string>> = {},
): Promise<Evidence[]> {
  const dying = runs.startServer({ ...settings, RETRAI_CRASH_AT: at })
  await runs.play(dying)
  expect(await dying.exit, dying.output).toEqual({ code: null, signal: 'SIGKILL' })
  const server = runs.startServer(settings)
  const client = await alive(server)
  await runs.play(server)
  if (plans.includes(waiting)) await abortTwice(client, runs.runId(waiting))
  const details = await Promise.all(
    plans.map((plan) => client.get(`/api/runs/${runs.runId(plan)}`)),
  )
  await server.stop()
  return Promise.all(plans.map((plan, n) => runs.evidence(plan, details[n]?.body)))
}

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
const isOfTheProxy = (point: CrashPoint): boolean => point.endsWith('network_connection')

const ENDS: ReadonlyMap<Plan, object> = new Map([
  [writer, { status: 'achieved' }],
  [reader, { status: 'failed', iterations: 1 }],
  [asked, { status: 'achieved' }],
  [waiting, { status: 'aborted', iterations: 1 }],
  [stuck, { status: 'failed', iterations: 1, reason: expect.stringContaining('no progress') }],
  [talkative, { status: 'achieved' }],
  [guarded, { status: 'achieved' }],
  [delegating, { status: 'achieved' }],
])
/** What appends the kinds of records that not every run has. */
const APPENDED_BY: readonly (readonly [Plan, readonly Kind[]])[] = [
  [reader, ['llm_retry', 'error']],
  [asked, ['human_check_response', 'run_config_changed', 'user_message', 'guard_changed']],
  [stuck, ['agent_stuck', 'run_ending', 'run_summary']],
  [talkative, ['context_compacted']],
  [guarded, ['approval_required', 'approval_response']],
  [delegating, ['subagent_started']],
]

/** All plans at an effect. At an append, the one that makes it, beside one run that works and one that waits. */
function plansAt(point: CrashPoint): readonly Plan[] {
  const [, kind] = point.split(' append of ')
  if (kind === undefined) return [...ENDS.keys()]
  const [needed = reader] = APPENDED_BY.find(([, kinds]) => kinds.some((one) => one === kind)) ?? []
  return [writer, waiting, needed]
}

describe.concurrent('a server that is killed', AMPLE, () => {
  test.for(
    CRASH_POINTS.filter((one) => !isOfTheProxy(one) && !isOfTheQueue(one) && !isOfServers(one)),
  )('%s continues all its runs', async (point, { expect, signal }) => {
    const plans = plansAt(point)
    await using runs = await PlannedRuns.open(plans, signal)
    const evidence = await crashAndContinue(runs, point, plans)
    expect(evidence.flatMap(violations)).toEqual([])
    expect(evidence.map(endOf)).toMatchObject(plans.map((plan) => ENDS.get(plan)))
  })

  test.for(CRASH_POINTS.filter(isOfTheQueue))(
    '%s continues its run once the project is back',
    async (point, { expect, signal }) => {
      await using runs = await PlannedRuns.open([writer], signal)
      const creating = runs.startServer({ RETRAI_CRASH_AT: 'after append of run_created' })
      await runs.play(creating)
      await creating.exit
      const moveBack = await runs.withoutProject(writer)
      const queueing = runs.startServer({ RETRAI_CRASH_AT: point })
      expect(await queueing.exit, queueing.output).toEqual({ code: null, signal: 'SIGKILL' })
      await moveBack()
      const server = runs.startServer()
      await runs.play(server)
      const { body } = (await (await alive(server)).get(`/api/runs/${runs.runId(writer)}`)) ?? {}
      await server.stop()
      const evidence = await runs.evidence(writer, body)
      expect(violations(evidence)).toEqual([])
      expect(recordsOf(evidence).some(({ kind }) => kind === 'run_queued')).toBe(
        point.startsWith('after'),
      )
      expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
    },
  )

  test.for([
    ...CRASH_POINTS.filter(isOfServers).map((point) => ({ point, outcome: 'ok' })),
    ...(['before tool', 'after tool'] as const).map((point) => ({ point, outcome: 'unknown' })),
  ])(
    '$point continues its run with MCP servers: the call is $outcome',
    async ({ point, outcome }, { expect, signal }) => {
      await using runs = await PlannedRuns.open([calling], signal)
      const [evidence] = await crashAndContinue(runs, point, [calling])
      if (evidence === undefined) throw new Error('there is one run')
      expect(violations(evidence)).toEqual([])
      expect(outcomesOf(evidence)[0]).toBe(outcome)
      expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
      const listed = recordsOf(evidence).filter(({ kind }) => kind === 'mcp_tools_listed')
      expect(listed).toHaveLength(1)
    },
  )

  test.skipIf(isMissing('bwrap')).for(CRASH_POINTS.filter(isOfTheProxy))(
    '%s continues its run, and does not repeat the call',
    async (point, { expect, signal }) => {
      await using runs = await PlannedRuns.open([connecting], signal)
      const [evidence] = await crashAndContinue(runs, point, [connecting], ISOLATED)
      if (evidence === undefined) throw new Error('there is one run')
      expect(violations(evidence)).toEqual([])
      expect(evidence.ledger).toEqual(['0.0'])
      expect(outcomesOf(evidence)).toEqual(['unknown'])
      expect(endOf(evidence)).toMatchObject({ status: 'achieved', iterations: 1 })
    },
  )
})

type Case = {
  readonly at: CrashPoint | `${CrashPoint}#${number}`
  /** Outcomes of the calls, and the entries that they wrote. */
  readonly outcomes: readonly string[]
  readonly ledger?: readonly string[]
  /** How many requests the model got for each of its turns. */
  readonly asked: readonly number[]
}

const ok = ['ok', 'ok', 'ok']
const all = ['0.0', '0.1', '1.0']

/** Two calls in the first turn, one in the second; each appends its own name to a file. */
const WRITER_CASES: readonly Case[] = [
  { at: 'before model', outcomes: ok, ledger: all, asked: [1, 1, 1] },
  { at: 'after model', outcomes: ok, ledger: all, asked: [2, 1, 1] },
  { at: 'before append of assistant_message', outcomes: ok, ledger: all, asked: [2, 1, 1] },
  { at: 'before append of tool_call', outcomes: ok, ledger: all, asked: [2, 1, 1] },
  {
    at: 'after append of tool_call',
    outcomes: ['unknown', 'ok', 'ok'],
    ledger: ['0.1', '1.0'],
    asked: [1, 1, 1],
  },
  {
    at: 'before tool',
    outcomes: ['unknown', 'ok', 'ok'],
    ledger: ['0.1', '1.0'],
    asked: [1, 1, 1],
  },
  { at: 'after tool', outcomes: ['unknown', 'ok', 'ok'], ledger: all, asked: [1, 1, 1] },
  {
    at: 'before append of tool_result',
    outcomes: ['unknown', 'ok', 'ok'],
    ledger: all,
    asked: [1, 1, 1],
  },
  {
    at: 'after append of tool_result',
    outcomes: ['ok', 'unknown', 'ok'],
    ledger: ['0.0', '1.0'],
    asked: [1, 1, 1],
  },
  { at: 'after tool#2', outcomes: ['ok', 'unknown', 'ok'], ledger: all, asked: [1, 1, 1] },
  {
    at: 'before append of tool_result#2',
    outcomes: ['ok', 'unknown', 'ok'],
    ledger: all,
    asked: [1, 1, 1],
  },
  { at: 'after append of tool_result#2', outcomes: ok, ledger: all, asked: [1, 1, 1] },
  { at: 'after goal check', outcomes: ok, ledger: all, asked: [1, 1, 1] },
  { at: 'before append of goal_check', outcomes: ok, ledger: all, asked: [1, 1, 1] },
  { at: 'after append of goal_check', outcomes: ok, ledger: all, asked: [1, 1, 1] },
  { at: 'before append of goal_check#2', outcomes: ok, ledger: all, asked: [1, 1, 1] },
  { at: 'before append of run_end', outcomes: ok, ledger: all, asked: [1, 1, 1] },
  { at: 'after append of run_end', outcomes: ok, ledger: all, asked: [1, 1, 1] },
]

/** Two calls that only read, after one failure of the model; then a model that refuses. */
const READER_CASES: readonly Case[] = [
  { at: 'before tool', outcomes: ['ok', 'ok'], asked: [2, 1] },
  { at: 'after tool', outcomes: ['ok', 'ok'], asked: [2, 1] },
  { at: 'after append of tool_call#2', outcomes: ['ok', 'ok'], asked: [2, 1] },
  { at: 'before append of llm_retry', outcomes: ['ok', 'ok'], asked: [2, 1] },
  { at: 'before append of error', outcomes: ['ok', 'ok'], asked: [2, 2] },
  { at: 'after append of error', outcomes: ['ok', 'ok'], asked: [2, 1] },
]

describe.concurrent('if the process that runs commands dies', AMPLE, () => {
  test('its command is unknown, is not run again, and leaves nothing', async ({
    expect,
    signal,
  }) => {
    await using runs = await PlannedRuns.open([fatal], signal)
    const server = runs.startServer()
    await runs.play(server)
    const { body } = (await (await alive(server)).get(`/api/runs/${runs.runId(fatal)}`)) ?? {}
    expect(await processesIn(runs.projectOf(fatal))).toEqual([])
    await server.stop()
    const evidence = await runs.evidence(fatal, body)
    expect(violations(evidence)).toEqual([])
    expect(outcomesOf(evidence)).toEqual(['unknown', 'ok'])
    expect(evidence.ledger).toEqual(['0.0', '1.0'])
    expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
  })
})

/** Lets the server of a command that does not end by itself die, and another one continue. */
async function dieInCommand(
  signal: AbortSignal,
  settings: Readonly<Record<string, string>>,
  kill: (server: Server, runs: PlannedRuns) => Promise<void>,
): Promise<Evidence> {
  await using runs = await PlannedRuns.open([endless], signal)
  const dying = runs.startServer(settings)
  const playing = runs.play(dying)
  await kill(dying, runs)
  expect(await dying.exit, dying.output).toEqual({ code: null, signal: 'SIGKILL' })
  await playing
  expect(await processesIn(runs.projectOf(endless))).toEqual([])
  const server = runs.startServer()
  await runs.play(server)
  const { body } = (await (await alive(server)).get(`/api/runs/${runs.runId(endless)}`)) ?? {}
  await server.stop()
  return runs.evidence(endless, body)
}

const begun = (runs: PlannedRuns) =>
  expect
    .poll(() => existsSync(join(runs.projectOf(endless), 'ledger')), { timeout: 60_000 })
    .toBe(true)

describe('if a server dies in a command', AMPLE, () => {
  test('while its runner is stopped, the command is unknown, is not run again, and leaves nothing', async ({
    signal,
  }) => {
    const stopped = { RETRAI_CRASH_AT: 'runner stopped during output' }
    const evidence = await dieInCommand(signal, stopped, async (server, runs) => {
      await begun(runs)
      await expect.poll(() => server.runnerState, { timeout: 60_000 }).toBe('T')
      server.kill('SIGKILL')
    })
    expect(violations(evidence)).toEqual([])
    expect(outcomesOf(evidence)).toEqual(['unknown', 'ok'])
    expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
  })

  test.skipIf(!canMakeGroups)(
    'because the kernel ends it for lack of memory, the command is unknown, is not run again, and leaves nothing',
    async ({ signal }) => {
      const evidence = await dieInCommand(signal, {}, async (server, runs) => {
        await begun(runs)
        const group = smallGroup(MIB)
        group.add(server.pid ?? 0)
        const { url } = await alive(server)
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
      expect(violations(evidence)).toEqual([])
      expect(outcomesOf(evidence)).toEqual(['unknown', 'ok'])
      expect(evidence.ledger).toEqual(['0.0', '1.0'])
      expect(endOf(evidence)).toMatchObject({ status: 'achieved' })
    },
  )
})

const both = ['0.0', '0.1']

/** A sub-agent with two calls in its first turn: the outcomes and entries are of these. Its parent waits for it. */
const SUBAGENT_CASES: readonly Omit<Case, 'asked'>[] = [
  { at: 'before append of subagent_started', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'after append of subagent_started', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'before append of run_created#2', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'after append of run_created#2', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'after model#2', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'before tool#2', outcomes: ['unknown', 'ok'], ledger: ['0.1'] },
  { at: 'after tool', outcomes: ['unknown', 'ok'], ledger: both },
  { at: 'before append of run_end', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'after append of run_end', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'before append of tool_result#3', outcomes: ['ok', 'ok'], ledger: both },
  { at: 'after append of tool_result#3', outcomes: ['ok', 'ok'], ledger: both },
]

/** While the second of two sub-agents is started, and between their results. */
const PAIR_POINTS = [
  ...(['before append of subagent_started#2', 'after append of subagent_started#2'] as const),
  ...(['before append of run_created#3', 'after append of run_created#3'] as const),
  ...(['before append of tool_result', 'after append of tool_result'] as const),
]

describe.concurrent('after a kill', AMPLE, () => {
  test.for(SUBAGENT_CASES)(
    '$at, a sub-agent is not started twice, and its parent has its end',
    async (row, { expect, signal }) => {
      await using runs = await PlannedRuns.open([delegating], signal)
      const [parent] = await crashAndContinue(runs, row.at, [delegating])
      if (parent === undefined) throw new Error('there is one run')
      const subagents = await runs.evidenceOfSubagents(delegating, parent)
      expect([parent, ...subagents].flatMap(violations)).toEqual([])
      expect(subagents.map(outcomesOf)).toEqual([row.outcomes])
      expect(subagents.map(({ ledger }) => ledger)).toEqual([row.ledger])
      expect(outcomesOf(parent)).toEqual(['ok', 'ok'])
      expect(endOf(parent)).toMatchObject({ status: 'achieved' })
    },
  )

  test.for(PAIR_POINTS)(
    '%s, two sub-agents side by side are each started once, and have their ends in order',
    async (at, { expect, signal }) => {
      await using runs = await PlannedRuns.open([pairing], signal)
      const [parent] = await crashAndContinue(runs, at, [pairing])
      if (parent === undefined) throw new Error('there is one run')
      expect(violations(parent)).toEqual([])
      const subagents = await runs.evidenceOfSubagents(pairing, parent)
      expect(subagents.map(endOf)).toMatchObject([{ status: 'achieved' }, { status: 'achieved' }])
      expect(outcomesOf(parent)).toEqual(['ok', 'ok', 'ok'])
      expect(endOf(parent)).toMatchObject({ status: 'achieved' })
    },
  )

  test.for(WRITER_CASES)(
    '$at, no call that writes is run twice',
    async (row, { expect, signal }) => {
      await using runs = await PlannedRuns.open([writer], signal)
      const [evidence] = await crashAndContinue(runs, row.at, [writer])
      if (evidence === undefined) throw new Error('there is one run')
      expect(violations(evidence)).toEqual([])
      expect(outcomesOf(evidence)).toEqual(row.outcomes)
      expect(evidence.ledger).toEqual(row.ledger)
      expect(runs.asked(writer)).toEqual(row.asked)
    },
  )

  test.for(READER_CASES)(
    '$at, calls that only read are run again',
    async (row, { expect, signal }) => {
      await using runs = await PlannedRuns.open([reader], signal)
      const [evidence] = await crashAndContinue(runs, row.at, [reader])
      if (evidence === undefined) throw new Error('there is one run')
      expect(violations(evidence)).toEqual([])
      expect(outcomesOf(evidence)).toEqual(row.outcomes)
      expect(runs.asked(reader)).toEqual(row.asked)
    },
  )
})
