import { ActionIcon, CopyButton, NativeSelect, Tooltip } from '@mantine/core'
import {
  IconChevronLeft,
  IconChevronRight,
  IconHistory,
  IconLink,
  IconPlayerPauseFilled,
  IconPlayerPlayFilled,
  IconPlayerSkipBackFilled,
  IconPlayerSkipForwardFilled,
  type IconProps,
} from '@tabler/icons-react'
import type { ComponentType } from 'react'
import { iterationBeside } from '../run/moments.ts'
import type { RunView } from '../run/run-view.ts'
import { formatCount, formatMoment } from '../ui/format.ts'
import { hashOf } from './playhead.ts'
import classes from './replay-bar.module.css'
import { Track } from './track.tsx'
import { type Playback, SPEEDS } from './use-playback.ts'
import type { Playhead } from './use-playhead.ts'

type Props = {
  readonly view: RunView
  readonly moment: number
  readonly playhead: Playhead
  readonly playback: Playback
  readonly ended: boolean
}

/** The controls of the replay, below the run. */
export function ReplayBar({ view, moment, playhead, playback, ended }: Props) {
  const last = view.records.length - 1
  const ts = view.records[moment]?.ts
  const go = (seq: number | null): void => {
    playback.pause()
    playhead.seek(seq === null || seq >= last ? null : Math.max(0, seq))
  }
  const before = iterationBeside(view, moment, -1)
  const next = iterationBeside(view, moment, 1)
  return (
    <section className={classes.bar} aria-label="Replay">
      <div className={classes.buttons}>
        <Control
          label="Previous iteration ([)"
          icon={IconPlayerSkipBackFilled}
          disabled={before === null}
          onClick={() => go(before ?? 0)}
        />
        <Control
          label="Previous record (k)"
          icon={IconChevronLeft}
          disabled={moment <= 0}
          wideOnly
          onClick={() => go(moment - 1)}
        />
        <Control
          label={playback.playing ? 'Pause (space)' : 'Play (space)'}
          icon={playback.playing ? IconPlayerPauseFilled : IconPlayerPlayFilled}
          disabled={last < 1}
          onClick={playback.toggle}
          main
        />
        <Control
          label="Next record (j)"
          icon={IconChevronRight}
          disabled={moment >= last}
          wideOnly
          onClick={() => go(moment + 1)}
        />
        <Control
          label="Next iteration (])"
          icon={IconPlayerSkipForwardFilled}
          disabled={next === null}
          onClick={() => go(next)}
        />
      </div>
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
          value={String(playback.speed)}
          data={SPEEDS.map((speed) => ({ value: String(speed), label: `${speed}×` }))}
          onChange={(event) => playback.setSpeed(Number(event.currentTarget.value))}
          className={classes.speed}
        />
        <CopyButton value={location.origin + location.pathname + hashOf(Math.max(0, moment))}>
          {({ copied, copy }) => (
            <Control
              label={copied ? 'Copied' : 'Copy a link to this moment (c)'}
              icon={IconLink}
              onClick={copy}
            />
          )}
        </CopyButton>
        <button
          type="button"
          className={classes.newest}
          data-following={playhead.at === null}
          aria-pressed={playhead.at === null}
          onClick={() => go(null)}
        >
          {ended ? 'End' : 'Live'}
        </button>
      </div>
    </section>
  )
}

type ControlProps = {
  readonly label: string
  readonly icon: ComponentType<IconProps>
  readonly onClick: () => void
  readonly disabled?: boolean
  readonly main?: boolean
  readonly wideOnly?: boolean
}

function Control({
  label,
  icon: Icon,
  onClick,
  disabled = false,
  main = false,
  wideOnly = false,
}: ControlProps) {
  return (
    <Tooltip label={label}>
      <ActionIcon
        variant={main ? 'filled' : 'subtle'}
        size="lg"
        radius="xl"
        className={classes.control}
        data-wide-only={wideOnly}
        aria-label={label.replace(/ \(.*\)$/, '')}
        disabled={disabled}
        onClick={onClick}
      >
        <Icon size={17} />
      </ActionIcon>
    </Tooltip>
  )
}

type NoteProps = {
  readonly moment: number
  /** When that was, seconds since the epoch. */
  readonly ts: number
  readonly ended: boolean
  readonly onNewest: () => void
}

/** A note that the page shows the run as it was, not as it is now. */
export function PastNote({ moment, ts, ended, onNewest }: NoteProps) {
  return (
    <div className={classes.note} role="status">
      <IconHistory size={16} aria-hidden />
      <span>
        As it was at record {formatCount(moment)}
        <span className={classes.clock}>, {formatMoment(ts)}</span>
      </span>
      <button type="button" className={classes.back} onClick={onNewest}>
        {ended ? 'To the end' : 'Back to live'}
      </button>
    </div>
  )
}
