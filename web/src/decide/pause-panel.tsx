import { IconPlayerPlayFilled, IconPlayerStopFilled } from '@tabler/icons-react'
import { useState } from 'react'
import { type Decision, isLimit, type RunConfig } from '../../../src/api/records.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import type { RunView } from '../run/run-view.ts'
import { LimitField } from '../start/limit-fields.tsx'
import { visible } from '../ui/foreign-text.ts'
import { inWords } from '../ui/reason.ts'
import classes from './questions.module.css'
import { type Choice, WaitingPanel } from './waiting-panel.tsx'

type Props = {
  readonly runId: string
  readonly open: Extract<RunState['phase'], { type: 'paused' }>
  readonly config: RunConfig
  readonly view: RunView
}

const CHOICES: readonly [Choice<Decision>, Choice<Decision>] = [
  { decision: 'approve', label: 'Continue', icon: <IconPlayerPlayFilled size={15} /> },
  {
    decision: 'abort',
    label: 'Abort the run',
    isGrave: true,
    icon: <IconPlayerStopFilled size={14} />,
  },
]

/** A run that a limit or a fault has paused. After a limit, it continues with a higher one. */
export function PausePanel({ runId, open: { seq, by, reason }, config, view }: Props) {
  const limit = isLimit(by) ? by : null
  const present = limit === null ? null : config[limit]
  const [raised, setRaised] = useState<number | string>((present ?? 0) * 2 || '')
  return (
    <WaitingPanel
      testId="paused"
      title="This run is paused"
      view={view}
      seq={seq}
      choices={CHOICES}
      reasonLabel="Reason: it is recorded"
      placeholder="Optional reason"
      decide={(decision, grounds) => {
        const { runs } = client()
        if (limit === null || decision === 'abort') {
          return answerOf(runs.resume(runId, { decision, seq, ...grounds }))
        }
        const changes = { [limit]: raised === '' ? null : Number(raised) }
        return answerOf(runs.configure(runId, { ...changes, ...grounds }))
      }}
      more={(isBusy) =>
        limit !== null && (
          <LimitField
            name={limit}
            form={{
              value: { [limit]: raised } as Record<typeof limit, number | string>,
              onChange: (changed) => setRaised(changed[limit]),
              problem: () => undefined,
            }}
            description={`It is ${present} now.`}
            disabled={isBusy}
          />
        )
      }
    >
      <p className={classes.summary}>{visible(inWords(reason))}</p>
    </WaitingPanel>
  )
}
