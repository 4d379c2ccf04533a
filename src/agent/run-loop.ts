import { err, ok, type Result } from 'neverthrow'
import { lastWords } from '../domain/conversation.ts'
import { MCP_PREFIX } from '../domain/mcp-tools.ts'
import { type NextStep, nextStep } from '../domain/next-step.ts'
import type { RunConfig } from '../domain/run-config.ts'
import type { Attempt } from '../live/attempt.ts'
import { hashOfCall } from '../log/commitment.ts'
import type { CheckHomeOf } from '../runner/isolation/check-homes.ts'
import type { Workspace } from '../workspace/workspace.ts'
import { BackgroundProcesses } from './background-processes.ts'
import { dataFolderProblem } from './data-folder.ts'
import type { Effects } from './effects.ts'
import type { Goal, GoalVerdict } from './goals/goal.ts'
import { cannotCheck, checkEnvironment } from './goals/run-check.ts'
import type { McpSession } from './mcp/run-servers.ts'
import { budgetOf, callModel } from './model-request.ts'
import { Notices, observe, recordNotices } from './observed-commands.ts'
import { misfit } from './plan-goal.ts'
import { projectOf, projectProblem } from './project-folder.ts'
import { reviewCall } from './requested-calls.ts'
import { RunCalls } from './run-calls.ts'
import type { RunSession, SessionError, StepResult } from './run-session.ts'
import type { Subagents } from './subagents.ts'
import { compactIfDue, summarizeRun } from './summaries.ts'
import { underWay } from './under-way.ts'

type LoopEnd = Result<'ended' | 'awaiting_human', SessionError>

/**
 * Works on a claimed run until it ends or waits for a person. An unexpected exception becomes the run's `error`. It
 * rejects with it only if the run has ended or waits for a person, or if nothing can be recorded.
 */
export async function runLoop(
  session: RunSession,
  effects: Effects,
  subagents: Subagents,
  signal: AbortSignal,
): Promise<LoopEnd> {
  try {
    return await takeSteps(session, effects, subagents, signal)
  } catch (cause) {
    if (signal.aborted) return err({ type: 'cancelled' })
    // What was folded may not be what is in the log.
    session.forget()
    const fresh = await session.refresh()
    if (fresh.isErr()) return err(fresh.error)
    const { type } = nextStep(session.state)
    if (type === 'end' || type === 'await_human') throw cause
    const failed = await session.record(failure(cause))
    return failed.map(() => 'ended')
  }
}

/** Reads the next step from the state, does it, and records its outcome. */
async function takeSteps(
  session: RunSession,
  effects: Effects,
  subagents: Subagents,
  signal: AbortSignal,
): Promise<LoopEnd> {
  // Since the run was created, the project may have become a link to the data folder, or that may have moved.
  let isApart = false
  await using processes = new BackgroundProcesses()
  await using servers = effects.mcp?.open(session.state.runId) ?? null
  const { config, isolation: policy } = session.state
  const folder = projectOf(session.state)
  await using files = effects.openWorkspace({ cwd: config.cwd, policy, folder })
  // The calls of the run end before its processes and servers.
  await using calls = new RunCalls(session, effects, { processes, files }, subagents, signal)
  for (;;) {
    if (signal.aborted) return err({ type: 'cancelled' })
    const fresh = await session.refresh()
    if (fresh.isErr()) return err(fresh.error)
    const step = nextStep(session.state)
    if (step.type === 'end') return ok('ended')
    const why = STOPS_PROCESSES[step.type]
    if (why !== undefined) await processes.stopAll(why)
    // During a call, connections of MCP servers would be recorded as the call's.
    const ofServers = step.type === 'run_tool' ? [] : (servers?.takeNotices() ?? [])
    const noted = await recordNotices(session, [...processes.takeNotices(), ...ofServers])
    if (noted.isErr()) return err(noted.error)
    if (step.type === 'await_human') return ok('awaiting_human')
    // During a shortage a step would fail, and its failure would be recorded as its outcome.
    const { untilAvailable } = effects
    if (step.type !== 'proceed' && untilAvailable !== undefined) {
      if (!(await untilAvailable(signal))) return err({ type: 'cancelled' })
    }
    const done = await failOnException(session, signal, async () => {
      if (!isApart) {
        const message = await dataFolderProblem(session.state.config.cwd, effects.dataDir)
        if (message !== null) return session.record({ type: 'fail', message, traceback: '' })
        isApart = true
      }
      const news = await newsOfServers(session, servers, step, signal)
      if (signal.aborted) return err({ type: 'cancelled' })
      if (news !== null) return session.record(news)
      return take(step, session, effects, { calls, files }, signal)
    })
    if (done.isErr()) return err(done.error)
  }
}

/** Takes a step, and records its outcome. */
async function take(
  step: Exclude<NextStep, { type: 'end' | 'await_human' }>,
  session: RunSession,
  effects: Effects,
  { calls, files }: { readonly calls: RunCalls; readonly files: Workspace },
  signal: AbortSignal,
): Promise<StepResult> {
  switch (step.type) {
    case 'proceed':
      return session.record({ type: 'proceed' })
    case 'call_model':
      // Its calls come soon.
      files.start()
      return underWay(session, effects.liveParts, async (attempt) => {
        const budget = await budgetOf(session, effects.models)
        const compacted = compactIfDue(session, effects, budget, signal)
        return compacted ?? callModel(session, effects, { budget, attempt }, signal)
      })
    case 'run_tool':
      return underWay(session, effects.liveParts, (attempt) => calls.run(step.call, attempt))
    case 'review_call': {
      const { call_id: callId } = step.call
      const requested = session.callToRun(step.call)
      const review = await reviewCall(requested, session, effects.toolbox, files)
      const callSha256 = hashOfCall(step.call)
      return session.record({ type: 'record_review', callId, callSha256, ...review })
    }
    case 'check_goal':
      return underWay(session, effects.liveParts, (attempt) =>
        checkGoal(session, effects, { attempt, files }, signal),
      )
    case 'summarize':
      return summarizeRun(session, effects, signal)
    case 'read_context':
      return readContext(session, effects, files, signal)
  }
}

/** Before which steps background processes are stopped, and why, as a part of a sentence. */
const STOPS_PROCESSES: Readonly<Partial<Record<NextStep['type'], string>>> = {
  check_goal: 'before the goal was checked',
  summarize: 'before the run ended',
  await_human: 'because the run waits for a person',
}

async function failOnException(
  session: RunSession,
  signal: AbortSignal,
  step: () => Promise<StepResult>,
): Promise<StepResult> {
  try {
    const done = await step()
    if (done.isErr() && done.error.type === 'append_too_large') {
      const { bytes, limit } = done.error
      const message = `The outcome of a step has ${bytes} bytes, more than the limit of ${limit} for a record`
      return await session.record({ type: 'fail', message, traceback: '' })
    }
    return done
  } catch (cause) {
    if (signal.aborted) return err({ type: 'cancelled' })
    return session.record(failure(cause))
  }
}

function failure(cause: unknown) {
  const { message, stack = '' } = cause instanceof Error ? cause : new Error(String(cause))
  return { type: 'fail', message, traceback: stack } as const
}

/** What must be recorded of the MCP servers before the step; null if nothing. */
async function newsOfServers(
  { state }: RunSession,
  servers: McpSession | null,
  step: NextStep,
  signal: AbortSignal,
): Promise<Parameters<RunSession['record']>[0] | null> {
  if (servers === null) return null
  const isCall = step.type === 'run_tool' || step.type === 'review_call'
  const needsServers =
    step.type === 'call_model' || (isCall && step.call.tool.startsWith(MCP_PREFIX))
  const listings = needsServers ? await servers.update(state, signal) : []
  return listings.length > 0 ? { type: 'record_mcp_tools', listings } : null
}

async function checkGoal(
  session: RunSession,
  { findGoal, runCommand: run, reportsDir, variables = {} }: Effects,
  { attempt, files }: { readonly attempt: Attempt | null; readonly files: Workspace },
  signal: AbortSignal,
): Promise<StepResult> {
  const { config, isolation = null } = session.state
  const goal = findGoal(config.goal)
  if (goal === undefined) throw new Error(`This server has no goal named ${config.goal}`)
  const began = performance.now()
  const { network = 'none' } = config
  const notices = new Notices(session)
  const onOutput = (text: string) => attempt?.write({ of: 'output', call_id: null }, text)
  const checkHome = checkHomeOf(session.state)
  const folder = projectOf(session.state)
  const { runCommand, observed } = observe(run, isolation, folder)
  const problem = projectProblem(config.cwd, folder)
  const check = (): Promise<GoalVerdict> =>
    goal.check({
      ...{ config, files, signal, reportsDir, lastWords: lastWords(session.conversation) },
      runCommand: (command) => {
        const env = checkEnvironment(variables, command.env)
        return runCommand({ network, onNotice: notices.add, onOutput, checkHome, ...command, env })
      },
    })
  const { verdict, reason, details } = problem === null ? await check() : cannotCheck(problem)
  await notices.settled()
  const achieved = verdict === 'achieved'
  const warning =
    achieved || session.state.iteration > 0
      ? null
      : await misfit(config, ownGoals(config, findGoal), files)
  if (signal.aborted) return err({ type: 'cancelled' })
  const duration_ms = Math.round(performance.now() - began)
  const told = { reason, details: [warning, details].filter(Boolean).join('\n\n') }
  const found = { achieved, ...told, duration_ms, ...observed(), verdict }
  return session.record({ type: 'record_goal_check', check: found })
}

/** The goals of a run with those of `all_of`, as far as this server has them. */
const ownGoals = (
  { goal, all_of = [] }: RunConfig,
  findGoal: Effects['findGoal'],
): readonly Goal[] =>
  [goal, ...all_of.map((part) => part.goal)].flatMap((name) => findGoal(name) ?? [])

/**
 * The home with which the checks of a run begin. Only its first check makes it, because its agent has not done anything
 * by then. A sub-agent begins in a project that its parent may have changed, so its checks have the home of the parent.
 */
function checkHomeOf({ runId, iteration, parent }: RunSession['state']): CheckHomeOf | null {
  if (parent === undefined) return { run: runId, makes: iteration === 0 }
  return parent.depth === 1 ? { run: parent.run_id, makes: false } : null
}

async function readContext(
  session: RunSession,
  { readProject }: Effects,
  files: Workspace,
  signal: AbortSignal,
): Promise<StepResult> {
  const { config, isolation: policy } = session.state
  const project = { cwd: config.cwd, policy, folder: projectOf(session.state) }
  const context = await readProject(project, files, signal)
  if (signal.aborted) return err({ type: 'cancelled' })
  return session.record({ type: 'record_context', context })
}
