import type { ComponentProps } from 'react'
import type { RunConfig } from '../../../src/api/records.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { ApproachPanel } from '../panels/approach-panel.tsx'
import { Panel } from '../panels/panel.tsx'
import { PlanPanel } from '../panels/plan-panel.tsx'
import { TagsPanel } from '../panels/tags-panel.tsx'
import { TrustPanel } from '../panels/trust-panel.tsx'
import { UsagePanel } from '../panels/usage-panel.tsx'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatCost, formatCount, formatDuration } from '../ui/format.ts'
import classes from './run-page.module.css'

type Props = ComponentProps<typeof TrustPanel> & {
  readonly id: string
  readonly state: RunState | null
  readonly moment: number
}

/** The run as a whole, beside its timeline. */
export function Overview({ id, state, moment, ...run }: Props) {
  const { view, server, onSeek } = run
  return (
    <aside id={id} className={classes.overview} aria-label="Overview">
      <ApproachPanel view={view} moment={moment} onSeek={onSeek} />
      {state?.plan !== undefined && <PlanPanel plan={state.plan} />}
      <UsagePanel view={view} moment={moment} onSeek={onSeek} />
      <TrustPanel {...run} />
      {server !== null && <TagsPanel {...server} />}
      {state !== null && <LimitsPanel config={state.config} />}
    </aside>
  )
}

type Goal = Pick<RunConfig, 'shell_goal' | 'goal_options'>

/** What a goal was given in addition to its name. What it was not given is undefined. */
const given = ({ shell_goal, goal_options }: Goal) =>
  [shell_goal?.check_command, goal_options && JSON.stringify(goal_options)] as const

const inOneLine = (part: NonNullable<RunConfig['all_of']>[number]): string =>
  [part.goal, ...given(part)].filter((text) => text !== undefined).join(': ')

function LimitsPanel({ config }: { readonly config: RunConfig }) {
  const { max_tokens, max_cost_usd, max_seconds, hitl_enabled, on_limit } = config
  const { max_output_tokens: reply = null, fallback_models = [], all_of = [] } = config
  const [check, settings] = given(config)
  const lines: (readonly [string, string | null | undefined])[] = [
    ['Model', config.model_name],
    ['Without tools', config.tools?.exclude.join(', ')],
    ['Effort', config.reasoning_effort],
    ['Replies', reply === null ? null : `at most ${counted(reply, 'token')}`],
    ['Fallbacks', fallback_models.length === 0 ? null : fallback_models.join(', ')],
    ['Folder', config.cwd],
    ['Iterations', `at most ${config.max_iterations}`],
    ['Turns', `at most ${config.max_turns_per_iteration ?? 1} an iteration`],
    ['Asks a person', hitl_enabled ? 'after every iteration' : 'never'],
    ['Tokens', max_tokens === null ? 'no limit' : `at most ${formatCount(max_tokens)}`],
    ['Cost', max_cost_usd === null ? 'no limit' : `at most ${formatCost(max_cost_usd)}`],
    ['At a limit', on_limit === 'pause' ? 'it waits for a person' : 'it ends'],
    ['Working time', max_seconds === null ? 'no limit' : `at most ${formatDuration(max_seconds)}`],
    ['Check', check],
    ['Settings', settings],
    ...all_of.map((part, index) => [`Goal ${index + 1}`, inOneLine(part)] as const),
  ]
  return (
    <Panel title="Limits">
      <dl className={classes.lines}>
        {lines.map(
          ([name, value]) =>
            value != null && (
              <div key={name} className={classes.line}>
                <dt>{name}</dt>
                <dd>{visible(value)}</dd>
              </div>
            ),
        )}
      </dl>
    </Panel>
  )
}
