import type { RunDetails } from '../../../src/client/index.ts'
import { visible } from '../ui/foreign-text.ts'
import { Panel } from './panel.tsx'
import classes from './plan-panel.module.css'

type Plan = NonNullable<RunDetails['progress']['plan']>

const MARKS = {
  pending: ['○', 'to do'],
  in_progress: ['▸', 'in progress'],
  completed: ['✓', 'done'],
} as const

/** What the agent intends to do, as it says itself. */
export function PlanPanel({ plan }: { readonly plan: Plan }) {
  const done = plan.filter(({ status }) => status === 'completed').length
  return (
    <Panel title="Plan" aside={`${done} of ${plan.length} done`}>
      <ol className={classes.steps}>
        {plan.map(({ step, status }, index) => {
          const [mark, word] = MARKS[status]
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: a step has no other name than its place
            <li key={index} className={classes.step} data-status={status}>
              <span role="img" aria-label={word} title={word}>
                {mark}
              </span>
              <span>{visible(step)}</span>
            </li>
          )
        })}
      </ol>
    </Panel>
  )
}
