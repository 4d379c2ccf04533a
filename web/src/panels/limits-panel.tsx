import type { RunConfig } from '../../../src/api/records.ts'
import { formatCost, formatCount, formatDuration } from '../ui/format.ts'
import classes from './limits-panel.module.css'
import { Panel } from './panel.tsx'

/** The settings of its models that the run has. */
function optionalLines(config: RunConfig): (readonly [string, string])[] {
  const { reasoning_effort = null, max_output_tokens = null, fallback_models = [] } = config
  return [
    ...(reasoning_effort === null ? [] : ([['Effort', reasoning_effort]] as const)),
    ...(max_output_tokens === null
      ? []
      : ([['Replies', `at most ${formatCount(max_output_tokens)} tokens`]] as const)),
    ...(fallback_models.length === 0 ? [] : ([['Fallbacks', fallback_models.join(', ')]] as const)),
  ]
}

/** What a goal was given in addition to its name. */
function goalLines({ shell_goal, goal_options }: Pick<RunConfig, 'shell_goal' | 'goal_options'>) {
  return [
    ...(shell_goal === null ? [] : ([['Check', shell_goal.check_command]] as const)),
    ...(goal_options === undefined ? [] : ([['Settings', JSON.stringify(goal_options)]] as const)),
  ]
}

const inOneLine = (part: NonNullable<RunConfig['all_of']>[number]): string =>
  [part.goal, ...goalLines(part).map(([, value]) => value)].join(': ')

/** The limits of the run. */
export function LimitsPanel({ config }: { readonly config: RunConfig }) {
  const { max_tokens, max_cost_usd, max_seconds, hitl_enabled } = config
  const lines: (readonly [string, string])[] = [
    ['Model', config.model_name],
    ...optionalLines(config),
    ['Folder', config.cwd],
    ['Iterations', `at most ${config.max_iterations}`],
    ['Turns', `at most ${config.max_turns_per_iteration ?? 1} an iteration`],
    ['Asks a person', hitl_enabled ? 'after every iteration' : 'never'],
    ['Tokens', max_tokens === null ? 'no limit' : `at most ${formatCount(max_tokens)}`],
    ['Cost', max_cost_usd === null ? 'no limit' : `at most ${formatCost(max_cost_usd)}`],
    ['Working time', max_seconds === null ? 'no limit' : `at most ${formatDuration(max_seconds)}`],
    ...goalLines(config),
    ...(config.all_of ?? []).map((part, index) => [`Goal ${index + 1}`, inOneLine(part)] as const),
  ]
  return (
    <Panel title="Limits">
      <dl className={classes.lines}>
        {lines.map(([name, value]) => (
          <div key={name} className={classes.line}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  )
}
