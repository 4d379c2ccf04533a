import type { RunConfig } from '../../../src/api/records.ts'
import type { RunDetails } from '../../../src/client/index.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { ApproachPanel } from '../panels/approach-panel.tsx'
import { Panel } from '../panels/panel.tsx'
import { PlanPanel } from '../panels/plan-panel.tsx'
import { TagsPanel } from '../panels/tags-panel.tsx'
import { TrustPanel } from '../panels/trust-panel.tsx'
import { UsagePanel } from '../panels/usage-panel.tsx'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatCost, formatCount, formatDuration } from '../ui/format.ts'
import type { Verifying } from '../verify/use-verification.ts'
import classes from './run-page.module.css'

type Props = {
  readonly id: string
  readonly view: RunView
  readonly state: RunState | null
  readonly moment: number
  readonly server: RunDetails | null
  readonly connection: Connection
  readonly verifying: Verifying
  readonly onSeek: (seq: number) => void
}

/** The run as a whole, beside its timeline. */
export function Overview(props: Props) {
  const { id, view, state, moment, server, connection, verifying, onSeek } = props

  return (
    <aside id={id} className={classes.overview} aria-label="Overview">
      <ApproachPanel view={view} moment={moment} onSeek={onSeek} />
      {state?.plan !== undefined && <PlanPanel plan={state.plan} />}
      <UsagePanel view={view} moment={moment} onSeek={onSeek} />
      <TrustPanel
        view={view}
        server={server}
        connection={connection}
        verifying={verifying}
        onSeek={onSeek}
      />
      {server !== null && <TagsPanel {...server} />}
      {state !== null && <LimitsPanel config={state.config} />}
    </aside>
  )
}

/** The settings of its models that the run has. */
function optionalLines(config: RunConfig): (readonly [string, string])[] {
  const { reasoning_effort = null, max_output_tokens = null, fallback_models = [], tools } = config
  return [
    ...(tools === undefined ? [] : ([['Without tools', tools.exclude.join(', ')]] as const)),
    ...(reasoning_effort === null ? [] : ([['Effort', reasoning_effort]] as const)),
    ...(max_output_tokens === null
      ? []
      : ([['Replies', `at most ${counted(max_output_tokens, 'token')}`]] as const)),
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

function LimitsPanel({ config }: { readonly config: RunConfig }) {
  const { max_tokens, max_cost_usd, max_seconds, hitl_enabled, on_limit } = config
  const lines: (readonly [string, string])[] = [
    ['Model', config.model_name],
    ...optionalLines(config),
    ['Folder', config.cwd],
    ['Iterations', `at most ${config.max_iterations}`],
    ['Turns', `at most ${config.max_turns_per_iteration ?? 1} an iteration`],
    ['Asks a person', hitl_enabled ? 'after every iteration' : 'never'],
    ['Tokens', max_tokens === null ? 'no limit' : `at most ${formatCount(max_tokens)}`],
    ['Cost', max_cost_usd === null ? 'no limit' : `at most ${formatCost(max_cost_usd)}`],
    ['At a limit', on_limit === 'pause' ? 'it waits for a person' : 'it ends'],
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
            <dd>{visible(value)}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  )
}
