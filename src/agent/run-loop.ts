import { err, ok, type Result } from 'neverthrow'
import { allMessages, tokensOf, toMessages, turnCount } from '../domain/conversation.ts'
import { nextStep } from '../domain/next-step.ts'
import type { ProjectContext } from '../domain/records.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { modelInUse, nextFallback, type OpenCall } from '../domain/state.ts'
import { type PauseBoundsMs, sleep } from '../lib/backoff.ts'
import type { RunCommand } from '../runner/command.ts'
import { dataFolderProblem } from './data-folder.ts'
import type { Goal } from './goals/goal.ts'
import type { ModelFailure, Models } from './model/model.ts'
import { type AfterFailure, afterFailure, replyRecords } from './model-outcome.ts'
import { Notices } from './notices.ts'
import { observe } from './observed-commands.ts'
import type { Project } from './project-context.ts'
import { notRunMasked } from './requested-calls.ts'
import type { RunSession, SessionError } from './run-session.ts'
import type { Toolbox } from './tools/tool.ts'

/** The effects that a run loop may have on the world. */
export type Effects = {
  readonly models: Models
  readonly toolbox: Toolbox
  readonly findGoal: (name: string) => Goal | undefined
  readonly runCommand: RunCommand
  /** Reads what an agent is shown of its project. Never rejects. */
  readonly readProject: (project: Project, signal: AbortSignal) => Promise<ProjectContext>
  /** The server's data folder, which no project may contain; null if there is none. */
  readonly dataDir: string | null
  /** Why this server cannot work on a run of this configuration, with advice; null if it can. */
  readonly obstacle?: (config: RunConfig) => Promise<string | null>
  /** Waits before each effect while the system has a shortage; false if `signal` aborts meanwhile. */
  readonly untilAvailable?: (signal: AbortSignal) => Promise<boolean>
  /** Removes what the commands of a run have left outside of its project. Never rejects. */
  readonly forgetRun?: (runId: string) => Promise<void>
  /** Where goal checks keep the reports of tools while they run. A start empties it. */
  readonly reportsDir: string
  /** Pauses between attempts to reach a model, and the attempts of one step in all. */
  readonly modelRetryMs: PauseBoundsMs
  readonly modelAttempts: number
}

type StepResult = Result<void, SessionError>

/**
 * Works on a claimed run until it ends or waits for a person: reads the next step from the state, does it, and records
 * its outcome. Never rejects: an unexpected exception becomes the run's `error`.
 */
export async function runLoop(
  session: RunSession,
  effects: Effects,
  signal: AbortSignal,
): Promise<Result<'ended' | 'awaiting_human', SessionError>> {
  // Since the run was created, the project may have become a link to the data folder, or that may have moved.
  let isApart = false
  for (;;) {
    if (signal.aborted) return err({ type: 'cancelled' })
    const fresh = await session.refresh()
    if (fresh.isErr()) return err(fresh.error)
    const step = nextStep(session.state)
    if (step.type === 'end') return ok('ended')
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
      switch (step.type) {
        case 'proceed':
          return session.record({ type: 'proceed' })
        case 'call_model':
          return callModel(session, effects, signal)
        case 'run_tool':
          return runTool(session, effects, step.call, signal)
        case 'check_goal':
          return checkGoal(session, effects, signal)
        case 'read_context':
          return readContext(session, effects, signal)
      }
    })
    if (done.isErr()) return err(done.error)
  }
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
    const error = cause instanceof Error ? cause : new Error(String(cause))
    const traceback = error.stack ?? ''
    return session.record({ type: 'fail', message: error.message, traceback })
  }
}

async function callModel(
  session: RunSession,
  { models, toolbox, modelRetryMs, modelAttempts }: Effects,
  signal: AbortSignal,
): Promise<StepResult> {
  const { config } = session.state
  const modelName = modelInUse(session.state)
  const budget = await models.contextBudget(modelName)
  const { messages, omittedTurns } = toMessages(session.conversation, budget)
  const began = performance.now()
  const request = {
    modelName,
    messages,
    tools: toolbox.specs,
    cacheKey: session.state.runId,
    ...settingsOf(config),
  }
  const userMessages = allMessages(session.conversation)
  const keptTurns = turnCount(session.conversation) - omittedTurns
  const reply = await models.complete(request, signal)
  if (signal.aborted) return err({ type: 'cancelled' })
  const sent = {
    modelName,
    durationMs: Math.round(performance.now() - began),
    omittedTurns,
    keptTurns,
    tokens: tokensOf(messages),
    userMessages,
  }
  if (reply.isOk())
    return session.record({ type: 'record_reply', ...replyRecords(reply.value, sent) })
  if (reply.error.type === 'cancelled') return err({ type: 'cancelled' })
  return recordFailure(
    session,
    reply.error,
    { retryMs: modelRetryMs, attempts: modelAttempts, sent },
    signal,
  )
}

/** The settings of a run that are not set are the model's own. */
function settingsOf({ reasoning_effort = null, max_output_tokens = null }: RunConfig) {
  return {
    ...(reasoning_effort === null ? {} : { effort: reasoning_effort }),
    ...(max_output_tokens === null ? {} : { maxOutputTokens: max_output_tokens }),
  }
}

async function recordFailure(
  session: RunSession,
  failure: Exclude<ModelFailure, { type: 'cancelled' }>,
  policy: Omit<AfterFailure, 'failures' | 'fallback'>,
  signal: AbortSignal,
): Promise<StepResult> {
  const { phase } = session.state
  const failures = phase.type === 'planning' ? phase.failures - (phase.otherFailures ?? 0) : 0
  const fallback = nextFallback(session.state)
  const next = afterFailure(failure, { ...policy, failures, fallback })
  const recorded = await session.record(next)
  if (recorded.isErr() || next.type === 'fail') return recorded
  return (await sleep(next.delayMs, signal)) ? ok(undefined) : err({ type: 'cancelled' })
}

/** What the commands of a run reach, and where they report what they did. */
function surroundings(session: RunSession) {
  const { network = 'none' } = session.state.config
  const notices = new Notices((notices) => session.record({ type: 'record_notices', notices }))
  return { notices, forCommands: { network, onNotice: notices.add } }
}

async function runTool(
  session: RunSession,
  { toolbox }: Effects,
  call: OpenCall,
  signal: AbortSignal,
): Promise<StepResult> {
  const requested = session.callToRun(call)
  const { notices, forCommands } = surroundings(session)
  const { config, runId, isolation: policy } = session.state
  const result =
    requested === null
      ? notRunMasked(call)
      : await toolbox.execute(requested, {
          ...{ cwd: config.cwd, signal, runId, ...forCommands },
          ...(policy === undefined ? {} : { policy }),
        })
  await notices.settled()
  if (signal.aborted) return err({ type: 'cancelled' })
  return session.record({ type: 'record_tool_result', result })
}

async function checkGoal(
  session: RunSession,
  { findGoal, runCommand: run, reportsDir }: Effects,
  signal: AbortSignal,
): Promise<StepResult> {
  const { config, isolation = null } = session.state
  const goal = findGoal(config.goal)
  if (goal === undefined) throw new Error(`This server has no goal named ${config.goal}`)
  const began = performance.now()
  const { notices, forCommands } = surroundings(session)
  const { runCommand, observed } = observe(run, isolation)
  const { verdict, reason, details } = await goal.check({
    ...{ config, signal, reportsDir },
    runCommand: (command) => runCommand({ ...forCommands, ...command }),
  })
  await notices.settled()
  if (signal.aborted) return err({ type: 'cancelled' })
  const duration_ms = Math.round(performance.now() - began)
  const achieved = verdict === 'achieved'
  const check = { achieved, reason, details, duration_ms, ...observed(), verdict }
  return session.record({ type: 'record_goal_check', check })
}

async function readContext(
  session: RunSession,
  { readProject }: Effects,
  signal: AbortSignal,
): Promise<StepResult> {
  const { config, runId, isolation: policy } = session.state
  const context = await readProject({ cwd: config.cwd, runId, policy }, signal)
  if (signal.aborted) return err({ type: 'cancelled' })
  return session.record({ type: 'record_context', context })
}
