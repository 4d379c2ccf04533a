import type { RunDetails } from '../../../src/client/index.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { ApproachPanel } from '../panels/approach-panel.tsx'
import { LimitsPanel } from '../panels/limits-panel.tsx'
import { TrustPanel } from '../panels/trust-panel.tsx'
import { UsagePanel } from '../panels/usage-panel.tsx'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import type { Verifying } from '../verify/use-verification.ts'
import classes from './overview.module.css'

type Props = {
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
  const { view, state, moment, server, connection, verifying, onSeek } = props

  return (
    <aside className={classes.overview} aria-label="Overview">
      <ApproachPanel view={view} moment={moment} onSeek={onSeek} />
      <UsagePanel view={view} moment={moment} onSeek={onSeek} />
      <TrustPanel
        view={view}
        server={server}
        connection={connection}
        verifying={verifying}
        onSeek={onSeek}
      />
      {state !== null && <LimitsPanel config={state.config} />}
    </aside>
  )
}
