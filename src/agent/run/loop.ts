import { err, ok, type Result } from 'neverthrow'
import { copyProject } from '../../carry/copy-project.ts'
import { MCP_PREFIX } from '../../domain/mcp-tools.ts'
import { type NextStep, nextStep } from '../../domain/next-step.ts'
import type { RunState } from '../../domain/state.ts'
import { Backoff } from '../../lib/backoff.ts'
import type { Attempt } from '../../live/live-parts.ts'
import { hashOfCall } from '../../log/commitment.ts'
import { projectOf } from '../../sandbox/project-folder.ts'
import { dataFolderProblem } from '../planning/problems.ts'
import type { Subagents } from '../subagents/subagents.ts'
import { BackgroundProcesses } from './background-processes.ts'
import { RunCalls } from './calls.ts'
import { type Effects, patientReads, type Work } from './effects.ts'
import { checkGoal } from './goal-check.ts'
import { LeftOutHashes } from './left-out.ts'
import { budgetOf, callModel } from './model-request.ts'
import { Notices } from './notices.ts'
import { reviewCall } from './review.ts'
import type { RunSession, SessionError, StepResult } from './session.ts'
import { Snapshots } from './snapshots.ts'
import { compactIfDue, summarizeRun } from './summaries.ts'

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
    const { message, stack } = cause instanceof Error ? cause : new Error(String(cause))
    const failed = await session.record(failure(message, stack))
    return failed.map(() => 'ended')
  }
}

/** Reads the next step from the state, does it, and records its outcome. */
async function takeSteps(
  session: RunSession,
  given: Effects,
  subagents: Subagents,
  signal: AbortSignal,
): Promise<LoopEnd> {
  const effects = { ...given, ...patientReads(given, signal) }
  await using processes = new BackgroundProcesses()
  const ofServers = new Notices()
  await using servers = effects.openServers(ofServers.add)
  const { config, isolation: policy } = session.state
  const folder = projectOf(session.state)
  // Since the run was created, the project may have become a link to the data folder, or that may have moved.
  const clash = dataFolderProblem(config.cwd, effects.dataDir)
  const project = { cwd: config.cwd, policy, folder }
  await using files = effects.openWorkspace(project)
  const snapshots = new Snapshots({ session, files, effects, signal })
  await using leftOut = new LeftOutHashes({ session, snapshots, effects, project, signal })
  const work: Work = { session, effects, files, snapshots, leftOut, processes, servers, signal }
  // The calls of the run end before its processes and servers.
  await using calls = new RunCalls(work, subagents)
  let isFirst = true
  for (;;) {
    if (signal.aborted) return err({ type: 'cancelled' })
    const fresh = await session.refresh()
    if (fresh.isErr()) return err(fresh.error)
    const step = nextStep(session.state)
    if (step.type === 'end') return ok('ended')
    if (step.type === 'copy_project') {
      const copied = await copyStep({ session, effects, signal })
      // Until now, there was no project that could be opened.
      return copied.isErr() ? err(copied.error) : takeSteps(session, given, subagents, signal)
    }
    if (STOPS_PROCESSES.has(step.type)) await processes.stopAll()
    // People, and commands without a result, may have changed files. A check may change them back.
    const isDue = isFirst || endsBetweenSteps(session.state) || step.type === 'check_goal'
    if (clash === null && isDue && step.type !== 'await_human') {
      const snapshot = await snapshots.take()
      const kept = snapshot && (await session.record({ type: 'record', made: { snapshot } }))
      if (kept?.isErr()) return err(kept.error)
    }
    isFirst = false
    const noted = await processes.notices.record(session)
    if (noted.isErr()) return err(noted.error)
    // During a call, connections of MCP servers would be recorded as the call's.
    const connected = step.type === 'run_tool' ? ok() : await ofServers.record(session)
    if (connected.isErr()) return err(connected.error)
    if (step.type === 'await_human') return ok('awaiting_human')
    // During a shortage a step would fail, and its failure would be recorded as its outcome.
    if (step.type !== 'proceed' && !(await effects.untilAvailable(signal))) {
      return err({ type: 'cancelled' })
    }
    const done =
      clash === null ? await take(step, work, calls) : await session.record(failure(clash))
    const isTooLarge = done.isErr() && done.error.type === 'append_too_large'
    const recorded = isTooLarge ? await session.record(failure(tooLarge(done.error))) : done
    if (recorded.isErr()) return err(recorded.error)
  }
}

async function copyStep(work: Pick<Work, 'session' | 'effects' | 'signal'>): Promise<StepResult> {
  const { session, effects, signal } = work
  if (!(await effects.untilAvailable(signal))) return err({ type: 'cancelled' })
  const made = await copyProject(work)
  if (signal.aborted) return err({ type: 'cancelled' })
  return session.record(
    made.match((copied) => ({ type: 'record', made: { project_copied: copied } }), failure),
  )
}

/** Takes a step, and records its outcome. */
async function take(
  step: Exclude<NextStep, { type: 'end' | 'await_human' | 'copy_project' }>,
  work: Work,
  calls: RunCalls,
): Promise<StepResult> {
  const { session, effects, files, leftOut, servers, signal } = work
  if (step.type === 'call_model' || step.type === 'check_goal') {
    const full = await untilSpace(work)
    if (signal.aborted) return err({ type: 'cancelled' })
    if (full !== null) return session.record({ type: 'pause', by: 'disk', reason: full })
  }
  if (step.type === 'call_model') leftOut.begin()
  const hashed = mayWrite(step, session.state) ? await leftOut.record() : ok()
  if (hashed.isErr()) return hashed
  const listings = needsServers(step) ? await servers.update(session.state, signal) : []
  if (signal.aborted) return err({ type: 'cancelled' })
  if (listings.length > 0) return session.record({ type: 'record_mcp_tools', listings })
  switch (step.type) {
    case 'proceed':
      return session.record({ type: 'proceed' })
    case 'call_model':
      return underWay(work, async (attempt) => {
        const budget = await budgetOf(work)
        const compacted = await compactIfDue(work, budget)
        return compacted ?? callModel(work, budget, attempt, calls.requested)
      })
    case 'run_tool':
      return underWay(work, (attempt) => calls.run(step.call, attempt))
    case 'review_call': {
      const { call_id: callId } = step.call
      const review = await reviewCall(calls.requested.callToRun(step.call), work)
      const callSha256 = hashOfCall(step.call)
      return session.record({ type: 'record_review', callId, callSha256, ...review })
    }
    case 'check_goal':
      return underWay(work, (attempt) => checkGoal(work, attempt))
    case 'summarize':
      return summarizeRun(work)
    case 'read_context': {
      const context = await effects.readProject(files, signal)
      if (signal.aborted) return err({ type: 'cancelled' })
      return session.record({ type: 'record', made: { project_context: context } })
    }
  }
}

/** A full disk is waited for this long, in seconds. */
const DISK_PATIENCE = 180

/**
 * A run that pauses at faults waits for space on the disk of its project, without which no command starts: its model could only
 * fail. Null if there is space, and otherwise why it has to pause.
 */
async function untilSpace({ session, effects, signal }: Work): Promise<string | null> {
  const { on_limit, cwd } = session.state.config
  const pauses = new Backoff(effects.modelRetryMs)
  const began = session.now
  while (on_limit === 'pause') {
    const problem = await effects.diskProblem(cwd)
    if (problem === null || session.now - began >= DISK_PATIENCE) return problem
    if (pauses.failures === 0) effects.log.warn({ why: problem }, 'waiting for space on the disk')
    if (!(await pauses.wait(signal))) return null
  }
  return null
}

/**
 * Does an effect and records its outcome. Until then, observers may follow its parts. An effect that fails should
 * withdraw its parts before it records the failure.
 */
async function underWay(
  { session, effects }: Work,
  effect: (attempt: Attempt) => Promise<StepResult>,
): Promise<StepResult> {
  const { runId, iteration, seq, config } = session.state
  const attempt = effects.liveParts.begin({ runId, goal: config.goal, iteration, seq })
  try {
    const recorded = await effect(attempt)
    if (recorded.isOk()) attempt.end({ recordedUpTo: session.state.seq })
    return recorded
  } finally {
    attempt.end('withdrawn')
  }
}

/** While a check judges the project, or a person looks at it, nothing may change it. */
const STOPS_PROCESSES: ReadonlySet<NextStep['type']> = new Set([
  'check_goal',
  'summarize',
  'await_human',
])

/** Whether the run ends although its last step has not. */
const endsBetweenSteps = ({ phase }: RunState): boolean =>
  phase.type === 'aborting' ||
  phase.type === 'erred' ||
  (phase.type === 'ending' && !phase.isSummarized)

/** Whether the step needs the tools of MCP servers. */
function needsServers(step: NextStep): boolean {
  if (step.type === 'call_model') return true
  const isCall = step.type === 'run_tool' || step.type === 'review_call'
  return isCall && step.call.tool.startsWith(MCP_PREFIX)
}

/** The first check may write, too, and what it leaves counts as what was there at the start. */
const mayWrite = (step: NextStep, { iteration }: RunState): boolean =>
  step.type === 'run_tool' ? !step.call.read_only : step.type === 'check_goal' && iteration > 0

const failure = (message: string, traceback = '') => ({ type: 'fail', message, traceback }) as const

const tooLarge = ({ bytes, limit }: Extract<SessionError, { type: 'append_too_large' }>): string =>
  `The outcome of a step has ${bytes} bytes, more than the limit of ${limit} for a record`
