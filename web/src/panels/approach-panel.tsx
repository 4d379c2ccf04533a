import { thin } from '../replay/marks.ts'
import { type AtMoment, countUpTo } from '../run/moments.ts'
import type { Verdict } from '../run/run-view.ts'
import { distanceOf } from '../run/verdict.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatCount } from '../ui/format.ts'
import classes from './approach-panel.module.css'
import { FailedCalls } from './failed-calls.tsx'
import { Panel } from './panel.tsx'

const ROOM = 48
/** Among more bars than these there is no room for a number below each. */
const LABELLED = 12

/** The checks of the goal side by side: how far each was from it. */
export function ApproachPanel({ view, moment, onSeek }: AtMoment) {
  const bars = thin(view.verdicts, ROOM)
  const done = countUpTo(view.verdicts, moment, ({ seq }) => seq)
  const newest = view.verdicts[done - 1]
  const worst = Math.max(1, ...bars.map((verdict) => distanceOf(verdict)?.failing ?? 0))
  return (
    <Panel title="Towards the goal" aside={newest === undefined ? undefined : toldOf(newest)}>
      {bars.length === 0 ? (
        <p className={classes.none}>The goal has not been checked yet.</p>
      ) : (
        <div className={classes.bars}>
          {bars.map((verdict) => (
            <Bar
              key={verdict.seq}
              verdict={verdict}
              worst={worst}
              future={verdict.seq > moment}
              labelled={bars.length <= LABELLED}
              onSeek={onSeek}
            />
          ))}
        </div>
      )}
      {newest !== undefined && <p className={classes.reason}>{visible(newest.reason)}</p>}
      <FailedCalls view={view} moment={moment} onSeek={onSeek} />
    </Panel>
  )
}

function toldOf(verdict: Verdict): string {
  if (verdict.achieved) return 'reached'
  const distance = distanceOf(verdict)
  if (distance === null) return 'not reached'
  return distance.total === null
    ? `${formatCount(distance.failing)} left`
    : `${formatCount(distance.failing)} of ${formatCount(distance.total)} left`
}

type BarProps = {
  readonly verdict: Verdict
  readonly worst: number
  readonly future: boolean
  readonly labelled: boolean
  readonly onSeek: (seq: number) => void
}

function Bar({ verdict, worst, future, labelled, onSeek }: BarProps) {
  const { seq, iteration, achieved, reason } = verdict
  const distance = distanceOf(verdict)
  const share = achieved ? 0 : distance === null ? 1 : distance.failing / worst
  const told = visible(`Iteration ${iteration}: ${reason}`)
  const label = achieved ? '✓' : (distance?.failing ?? '?')
  return (
    <button
      type="button"
      className={classes.slot}
      data-achieved={achieved}
      data-future={future}
      title={told}
      aria-label={told}
      onClick={() => onSeek(seq)}
    >
      <span className={classes.bar} style={{ height: `${8 + 46 * share}px` }} />
      {labelled && <span className={classes.count}>{label}</span>}
    </button>
  )
}
