import { NativeSelect } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import {
  IconChevronLeft,
  IconChevronRight,
  IconHistory,
  IconLink,
  IconPlayerPauseFilled,
  IconPlayerPlayFilled,
  IconPlayerSkipBackFilled,
  IconPlayerSkipForwardFilled,
} from '@tabler/icons-react'
import type { ComponentProps } from 'react'
import { useMayNot } from '../api/use-may.ts'
import { iterationBeside } from '../run/moments.ts'
import type { RunView } from '../run/run-view.ts'
import { CopyButton } from '../ui/copy-button.tsx'
import { formatCount, formatMoment } from '../ui/format.ts'
import { IconButton } from '../ui/icon-button.tsx'
import { ForkDialog } from './fork-dialog.tsx'
import { hashOf } from './playhead.ts'
import classes from './replay-bar.module.css'
import { Track } from './track.tsx'
import { type Playback, SPEEDS } from './use-playback.ts'

type ReplayProps = {
  readonly view: RunView
  readonly moment: number
  readonly playback: Playback
}

type Props = ReplayProps & { readonly following: boolean; readonly ended: boolean }

/** The controls of the replay, below the run. */
export function ReplayBar({ view, moment, playback, following, ended }: Props) {
  const last = view.records.length - 1
  const ts = view.records[moment]?.ts
  const { go, speed, setSpeed } = playback
  return (
    <section className={classes.bar} aria-label="Replay">
      <Steps view={view} moment={moment} playback={playback} />
      <Track view={view} moment={moment} onSeek={go} />
      <div className={classes.place}>
        <span className={classes.seq} data-testid="moment">
          {formatCount(Math.max(0, moment))}
          <span className={classes.of}>{` / ${formatCount(Math.max(0, last))}`}</span>
        </span>
        <span className={classes.time}>{ts === undefined ? '' : formatMoment(ts)}</span>
      </div>
      <div className={classes.side}>
        <NativeSelect
          aria-label="Speed of the replay"
          size="xs"
          value={String(speed)}
          data={SPEEDS.map((each) => ({ value: String(each), label: `${each}×` }))}
          onChange={(event) => setSpeed(Number(event.currentTarget.value))}
          className={classes.speed}
        />
        <CopyButton value={location.origin + location.pathname + hashOf(Math.max(0, moment))}>
          {({ copied, copy }) => (
            <Control
              tip={copied ? 'Copied' : 'Copy a link to this moment (c)'}
              icon={IconLink}
              onClick={copy}
            />
          )}
        </CopyButton>
        <button
          type="button"
          className={classes.newest}
          data-following={following}
          aria-pressed={following}
          onClick={() => go(null)}
        >
          {ended ? 'End' : 'Live'}
        </button>
      </div>
    </section>
  )
}

/** The buttons that go from record to record, or play the run. */
function Steps({ view, moment, playback: { playing, toggle, go } }: ReplayProps) {
  const last = view.records.length - 1
  const before = iterationBeside(view, moment, -1)
  const next = iterationBeside(view, moment, 1)
  return (
    <div className={classes.buttons}>
      {/* It is in the middle, and the first one for the Tab key. */}
      <Control
        tip={playing ? 'Pause (space)' : 'Play (space)'}
        icon={playing ? IconPlayerPauseFilled : IconPlayerPlayFilled}
        disabled={last < 1}
        onClick={toggle}
        main
      />
      <Control
        tip="Previous iteration ([)"
        back
        icon={IconPlayerSkipBackFilled}
        disabled={before === null}
        onClick={() => go(before ?? 0)}
      />
      <Control
        tip="Previous record (k)"
        back
        icon={IconChevronLeft}
        disabled={moment <= 0}
        wideOnly
        onClick={() => go(moment - 1)}
      />
      <Control
        tip="Next record (j)"
        icon={IconChevronRight}
        disabled={moment >= last}
        wideOnly
        onClick={() => go(moment + 1)}
      />
      <Control
        tip="Next iteration (])"
        icon={IconPlayerSkipForwardFilled}
        disabled={next === null}
        onClick={() => go(next)}
      />
    </div>
  )
}

type ControlProps = Pick<ComponentProps<typeof IconButton>, 'tip' | 'icon' | 'onClick'> & {
  readonly disabled?: boolean
  readonly main?: boolean
  readonly back?: boolean
  readonly wideOnly?: boolean
}

const Control = ({ main = false, back = false, wideOnly = false, ...rest }: ControlProps) => (
  <IconButton
    {...rest}
    variant={main ? 'filled' : 'subtle'}
    radius="xl"
    iconProps={{ size: 17, stroke: 2 }}
    className={classes.control}
    data-wide-only={wideOnly}
    data-back={back}
  />
)

type NoteProps = {
  readonly runId: string
  readonly moment: number
  /** When that was, seconds since the epoch. */
  readonly ts: number
  readonly ended: boolean
  readonly onNewest: () => void
}

/** A note that the page shows the run as it was, not as it is now. */
export function PastNote({ runId, moment, ts, ended, onNewest }: NoteProps) {
  const [forking, fork] = useDisclosure(false)
  const mayNot = useMayNot('runs:create')
  return (
    <div className={classes.note} role="status">
      <IconHistory size={16} aria-hidden />
      <span>
        As it was at record {formatCount(moment)}
        <span className={classes.clock}>, {formatMoment(ts)}</span>
      </span>
      <button
        type="button"
        className={classes.back}
        disabled={mayNot !== null}
        title={mayNot ?? undefined}
        onClick={fork.open}
      >
        Continue from here
      </button>
      {forking && <ForkDialog runId={runId} at={moment} onClose={fork.close} />}
      <button type="button" className={classes.back} onClick={onNewest}>
        {ended ? 'To the end' : 'Back to live'}
      </button>
    </div>
  )
}
