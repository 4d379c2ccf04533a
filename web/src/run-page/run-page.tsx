import { createScopedKeydownHandler } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import type { PartText } from '../../../src/client/index.ts'
import { type RunState, statusOf } from '../../../src/domain/state.ts'
import { isSilence } from '../api/problem.ts'
import { runQuery } from '../api/queries.ts'
import { useStatusNames } from '../api/use-may.ts'
import { NotFound } from '../app/not-found.tsx'
import type { Scope } from '../changes/between.ts'
import { ChangesView } from '../changes/changes-view.tsx'
import { Unfolded } from '../code/fold.tsx'
import { Questions } from '../decide/questions.tsx'
import { PastNote, ReplayBar } from '../replay/replay-bar.tsx'
import { usePlayback } from '../replay/use-playback.ts'
import { type Playhead, usePlayhead } from '../replay/use-playhead.ts'
import { useRun } from '../run/run-store.ts'
import { type RunView, stateAt } from '../run/run-view.ts'
import { FindInRun } from '../search/find-in-run.tsx'
import { RowToolsContext } from '../timeline/row-context.ts'
import { Timeline } from '../timeline/timeline.tsx'
import { visible } from '../ui/foreign-text.ts'
import { baseName } from '../ui/format.ts'
import { hasEnded } from '../ui/status.ts'
import { useTitle } from '../ui/use-title.ts'
import { useVerification } from '../verify/use-verification.ts'
import { Overview } from './overview.tsx'
import { RawRecords } from './raw-records.tsx'
import { RunHeader, SubagentsAtWork } from './run-header.tsx'
import classes from './run-page.module.css'
import { useRunShortcuts } from './use-run-shortcuts.ts'

/** A run as it arrives, what the server says about it, and whether its records are valid. */
function useWatched(runId: string) {
  const { data: server = null, error } = useQuery(runQuery(runId))
  const head = server?.progress.seq ?? null
  const { view, parts, connection } = useRun(runId, { silent: isSilence(error), head })
  const length =
    connection.type === 'complete' ? view.records.length : head === null ? null : head + 1
  const verifying = useVerification(runId, view.records, length)
  return { view, parts, connection, server, head, verifying }
}

function titleOf(state: RunState | null, names: ReturnType<typeof useStatusNames>): string {
  if (state === null) return 'Run'
  const { goal, cwd } = state.config
  return `${names[statusOf(state)]}: ${visible(state.title ?? goal)} in ${baseName(cwd)}`
}

/** One run: as it happens, or as it was at any moment. */
export default function RunPage({ runId }: { readonly runId: string }) {
  const { view, parts, connection, server, head, verifying } = useWatched(runId)
  const playhead = usePlayhead()
  const playback = usePlayback(view, playhead)
  const [shown, showRecords] = useState<readonly number[]>([])
  const [chosen, setTab] = useState<Tab>('timeline')
  const isNarrow = useMediaQuery(NARROW, false, { getInitialValueInEffect: false })
  // Where there is room, the overview is always in sight.
  const tab = chosen === 'overview' && !isNarrow ? 'timeline' : chosen
  const [scope, setScope] = useState<Scope>('run')
  const last = view.records.length - 1
  const moment = Math.min(playhead.at ?? last, last)
  const following = playhead.at === null
  const state = useMemo(() => stateAt(view, moment), [view, moment])

  useRunShortcuts({ view, moment, playback })
  useTitle(titleOf(view.state, useStatusNames()))
  if (connection.type === 'refused' && last < 0) {
    return <NotFound>{connection.message}</NotFound>
  }
  return (
    <div className={classes.page} data-tab={tab}>
      <RunHeader
        runId={runId}
        view={view}
        state={state}
        moment={moment}
        following={following}
        connection={connection}
        head={head}
        ended={server !== null && hasEnded(server.status) ? server.status : null}
      />
      <div className={classes.bar}>
        <Tabs names={isNarrow ? TABS : TABS.slice(0, 2)} shown={tab} onShow={setTab} />
        {tab === 'timeline' && (
          <FindInRun {...{ runId, view }} at={playhead.at} onSeek={playhead.seek} />
        )}
      </div>
      <div className={classes.main}>
        <RunTimeline
          {...{ runId, view, parts, moment, playhead, showRecords }}
          endedAt={server === null ? undefined : server.ended_at}
          bad={verifying.bad?.seq ?? null}
        />
        {tab === 'changes' && (
          <ChangesView
            id={panelId('changes')}
            {...{ runId, view, moment, scope }}
            onScope={setScope}
          />
        )}
      </div>
      {/* Below the timeline, because what appears above it would move what somebody reads. */}
      <SubagentsAtWork view={view} state={state} />
      <div className={classes.foot} data-on-screen>
        <Questions
          runId={runId}
          view={view}
          current={head === null || last >= head}
          onShowChanges={(iteration) => {
            playhead.seek(null)
            setScope(iteration)
            setTab('changes')
          }}
        />
        <ReplayBar {...{ view, moment, following, playback }} ended={hasEnd(view)} />
        {!following && (
          <PastNote
            runId={runId}
            moment={moment}
            ts={view.records[moment]?.ts ?? 0}
            ended={hasEnd(view)}
            onNewest={() => playhead.seek(null)}
          />
        )}
      </div>
      {/* Last, so that few stops of the Tab key are before the replay. */}
      <Overview
        id={panelId('overview')}
        {...{ view, state, moment, server, connection, verifying }}
        onSeek={playhead.seek}
      />
      <RawRecords view={view} seqs={shown} onClose={() => showRecords([])} />
    </div>
  )
}

const hasEnd = ({ state }: RunView): boolean => state?.phase.type === 'ended'

type TimelineProps = {
  readonly runId: string
  readonly view: RunView
  readonly parts: readonly PartText[]
  readonly moment: number
  readonly playhead: Playhead
  /** When the run ended, as the server says; null while it works, undefined if that is not known yet. */
  readonly endedAt: string | null | undefined
  /** The record that is not valid; null if none is known. */
  readonly bad: number | null
  readonly showRecords: (seqs: readonly number[]) => void
}

function RunTimeline(props: TimelineProps) {
  const { runId, view, parts, moment, playhead, endedAt, bad, showRecords } = props
  const { at, seek } = playhead
  const [openedAt] = useState(Date.now)
  const unfolded = useMemo(() => new Set<string>(), [])
  const began = view.records[0]?.ts ?? 0
  const tools = useMemo(
    () => ({ runId, began, bad, seek, showRecords }),
    [runId, began, bad, seek, showRecords],
  )
  // A run that was over when the page was opened is read from its beginning.
  const isFollowed = endedAt === null || (endedAt != null && Date.parse(endedAt) >= openedAt)
  return (
    <section id={panelId('timeline')} className={classes.timeline} aria-label="Timeline">
      <Unfolded value={unfolded}>
        <RowToolsContext value={tools}>
          <Timeline
            view={view}
            moment={moment}
            following={at === null}
            followed={isFollowed}
            growing={!hasEnd(view) && isFollowed}
            parts={parts}
          />
        </RowToolsContext>
      </Unfolded>
    </section>
  )
}

/** As in the styles. */
const NARROW = '(max-width: 1080px)'
const TABS = ['timeline', 'changes', 'overview'] as const
type Tab = (typeof TABS)[number]
const TAB_NAMES = { timeline: 'Timeline', changes: 'Changes', overview: 'Overview' } as const
const panelId = (tab: Tab): string => `panel-${tab}`

const moveAmongTabs = createScopedKeydownHandler({
  parentSelector: '[role="tablist"]',
  siblingSelector: '[role="tab"]',
  orientation: 'horizontal',
  dir: 'ltr',
  activateOnFocus: true,
})

type TabsProps = {
  readonly names: readonly Tab[]
  readonly shown: Tab
  readonly onShow: (tab: Tab) => void
}

/** Chooses which part of the page is shown. */
function Tabs({ names, shown, onShow }: TabsProps) {
  return (
    <div className={classes.tabs} role="tablist" aria-label="Parts of the run">
      {names.map((name) => (
        <button
          key={name}
          type="button"
          role="tab"
          aria-selected={shown === name}
          aria-controls={panelId(name)}
          // One stop for the tab key; the arrows go from tab to tab.
          tabIndex={shown === name ? 0 : -1}
          className={classes.tab}
          onClick={() => onShow(name)}
          onKeyDown={moveAmongTabs}
        >
          {TAB_NAMES[name]}
        </button>
      ))}
    </div>
  )
}
