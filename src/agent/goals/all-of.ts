import type { GoalPart, RunConfig } from '../../domain/run-config.ts'
import type { Goal, GoalContext, GoalVerdict } from './goal.ts'
import { describeShellGoal } from './shell-goal.ts'
import { headAndTail, oneLine } from './text.ts'

export const ALL_OF = 'all-of'

/** The longest `details` of several goals together, in characters: the messages of each must be of use. */
const DETAILS_LIMIT = 12_288

/** The configuration of a run as one of its goals sees it. */
const configOfPart = ({ all_of: _, goal_options: __, ...config }: RunConfig, part: GoalPart) =>
  ({ ...config, ...part }) satisfies RunConfig

/** The name of one of several goals, or its command if it has no name. */
function nameOf({ goal, shell_goal }: GoalPart): string {
  if (goal !== 'shell-goal' || shell_goal === null) return goal
  return `\`${oneLine(shell_goal.check_command, 60)}\``
}

type Judged = GoalVerdict & { readonly name: string }

const HEADS: Readonly<Record<GoalVerdict['verdict'], string>> = {
  achieved: 'reached',
  not_achieved: 'not reached',
  cannot_check: 'cannot be checked',
}

/**
 * One verdict for several goals. It is achieved if all of them are. If one cannot be checked, it cannot be checked. The
 * reason names each goal, failed ones first; the details are those of the goals that are not reached.
 */
export function mergeVerdicts(judged: readonly Judged[]): GoalVerdict {
  const [only] = judged
  if (only !== undefined && judged.length === 1) {
    const { name: _, ...verdict } = only
    return verdict
  }
  const failed = judged.filter(({ verdict }) => verdict !== 'achieved')
  const blocked = failed.some(({ verdict }) => verdict === 'cannot_check')
  const count = `${judged.length - failed.length} of ${judged.length} reached`
  const lines = [...failed, ...judged.filter(({ verdict }) => verdict === 'achieved')].map(
    ({ name, verdict, reason }) => `${name} ${HEADS[verdict]}: ${reason}`,
  )
  const room = Math.floor(DETAILS_LIMIT / Math.max(1, failed.length))
  const shown = failed.length > 0 ? failed : judged
  const details = shown
    .filter((part) => part.details.trim() !== '')
    .map((part) => `=== ${part.name}\n${headAndTail(part.details, room)}`)
    .join('\n\n')
  return {
    verdict: failed.length === 0 ? 'achieved' : blocked ? 'cannot_check' : 'not_achieved',
    reason: `${count}. ${lines.join('. ')}`,
    details,
  }
}

/**
 * Checks all goals, in their order, so that the agent sees every failure at once: an iteration costs more than a check.
 * Only a goal that cannot be checked ends the check early, because nothing that follows can change the verdict.
 */
async function check(goals: readonly Goal[], context: GoalContext): Promise<GoalVerdict> {
  const judged: Judged[] = []
  for (const part of context.config.all_of ?? []) {
    const goal = goals.find(({ name }) => name === part.goal)
    if (goal === undefined) throw new Error(`This server has no goal named ${part.goal}`)
    const verdict = await goal.check({ ...context, config: configOfPart(context.config, part) })
    judged.push({ name: nameOf(part), ...verdict })
    if (verdict.verdict === 'cannot_check' || context.signal.aborted) break
  }
  return mergeVerdicts(judged)
}

/** The goal of a run that names several of `goals`. */
export const allOf = (goals: readonly Goal[]): Goal => ({
  name: ALL_OF,
  description: 'Several goals hold at the same time: those that the run names',
  prompt:
    'Reach all of the goals below, so that they hold at the same time. All are checked together; the verdict names each.',
  check: (context) => check(goals, context),
})

/** The goals of a run in words, for the model. */
export function describeGoals(goals: readonly Goal[], config: RunConfig): string {
  const inWords = (part: GoalPart): string => {
    const goal = goals.find(({ name }) => name === part.goal)
    return `${goal?.prompt ?? ''}${describeSettings(part)}`
  }
  const parts = (config.all_of ?? []).map((part) => `\n## ${part.goal}\n${inWords(part)}`)
  return [inWords(config), ...parts].join('\n')
}

function describeSettings({
  shell_goal,
  goal_options,
}: Pick<GoalPart, 'shell_goal' | 'goal_options'>): string {
  const check = shell_goal === null ? '' : `\nThe check: ${describeShellGoal(shell_goal)}.`
  const options =
    goal_options === undefined ? '' : `\nIts settings: ${JSON.stringify(goal_options)}.`
  return check + options
}
