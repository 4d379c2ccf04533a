import { err } from 'neverthrow'
import { cannotCheck, type GoalVerdict, SHELL_GOAL } from '../../checks/goal.ts'
import { checkEnvironment } from '../../checks/run-check.ts'
import { lastWords } from '../../domain/conversation.ts'
import { present } from '../../domain/present.ts'
import { isUntouched, type RunState } from '../../domain/state.ts'
import type { Attempt } from '../../live/live-parts.ts'
import type { RunCommand } from '../../runner/command.ts'
import type { CheckHomeOf } from '../../sandbox/check-homes.ts'
import { projectOf, projectProblem } from '../../sandbox/project-folder.ts'
import type { Work } from './effects.ts'
import { finalCheck, type Place, type Reached } from './final-check.ts'
import { Notices, observe } from './notices.ts'
import type { StepResult } from './session.ts'

/** Checks the goal of a run, and records the verdict. If it is reached, it is checked once more, as far as the run asks for that. */
export async function checkGoal(work: Work, attempt: Attempt): Promise<StepResult> {
  const { session, effects, files, snapshots, signal } = work
  const { state } = session
  const { cwd } = state.config
  const { protection } = snapshots
  const isFirst = isUntouched(state)
  const before = isFirst ? [] : await protection.tampering()
  const began = performance.now()
  const notices = new Notices(session)
  const folder = projectOf(state)
  const asDemanded = (runCommand: RunCommand) =>
    observe(runCommand, state.isolation ?? null, folder)
  const { runCommand, observed } = asDemanded(effects.runCommand)
  const checkAt = checker(work, notices, attempt)
  const problem = projectProblem(cwd, folder)
  const judged = problem === null ? await checkAt({ cwd, files, runCommand }) : cannotCheck(problem)
  await notices.settled()
  if (signal.aborted) return err({ type: 'cancelled' })
  const { verdict, reason, details } = judged
  const duration_ms = Math.round(performance.now() - began)
  const achieved = verdict === 'achieved'
  const made = await snapshots.take()
  const own = made && isFirst ? await protection.afterFirstCheck() : null
  const snapshot = made && { ...made, ...present({ protected: own }) }
  const after = made && !isFirst ? await protection.tampering() : []
  const found = await protection.found(judged, [before, after])
  const check = { achieved, reason, details, duration_ms, verdict, ...observed(), ...found }
  const reached: Reached = {
    tree: made?.tree ?? state.snapshot?.tree ?? null,
    tampering: found.tampering ?? [],
    checkHome: checkHomeOf(state),
    check: ({ runCommand: inCopy, ...copy }, command) =>
      checkAt({ ...copy, runCommand: asDemanded(inCopy).runCommand }, command),
  }
  const final = achieved ? await finalCheck(work, reached) : null
  await notices.settled()
  if (signal.aborted) return err({ type: 'cancelled' })
  return session.record({
    type: 'record',
    made: { goal_check: check, snapshot, final_check: final },
  })
}

/** Checks the goal of the run at a place, or a command that its agent does not see, of which nothing is shown to observers. */
function checker({ session, effects, signal }: Work, notices: Notices, attempt: Attempt) {
  const { state, conversation } = session
  const { config } = state
  const { network = 'none' } = config
  const checkHome = checkHomeOf(state)
  const onOutput = (text: string) => attempt.write({ of: 'output', call_id: null }, text)
  return ({ cwd, files, runCommand }: Place, hidden?: string): Promise<GoalVerdict> => {
    const isShown = hidden === undefined
    const goal = effects.findGoal(isShown ? config.goal : SHELL_GOAL)
    const command = !isShown && { check_command: hidden, success_condition: { exit_code: 0 } }
    return goal.check({
      files,
      signal,
      lastWords: lastWords(conversation),
      config: { ...config, cwd, ...(command && { shell_goal: command }) },
      runCommand: (asked) => {
        const env = checkEnvironment(effects.variables, asked.env)
        // What a hidden check reaches says something about it.
        const heard = isShown ? { onOutput, onNotice: notices.add } : {}
        return runCommand({ network, ...heard, checkHome, ...asked, env })
      },
    })
  }
}

/**
 * The home with which the checks of a run begin. Only its first check makes it, because its agent has not done anything
 * by then. A sub-agent begins in a project that its parent may have changed, so its checks have the home of the parent.
 */
function checkHomeOf({ runId, iteration, parent }: RunState): CheckHomeOf | null {
  if (parent === undefined) return { run: runId, makes: iteration === 0 }
  return parent.depth === 1 ? { run: parent.run_id, makes: false } : null
}
