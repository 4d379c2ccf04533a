import {
  IconAlertTriangle,
  IconBan,
  IconCheck,
  IconHandStop,
  IconHourglassEmpty,
  IconPlayerPauseFilled,
  IconPlayerPlayFilled,
  type IconProps,
  IconX,
} from '@tabler/icons-react'
import type { ComponentType } from 'react'
import type { RunStatus } from '../../../src/api/records.ts'
import { useStatusNames } from '../api/use-may.ts'
import { visible } from './foreign-text.ts'
import classes from './status-pill.module.css'

const ICONS: Readonly<Record<RunStatus, ComponentType<IconProps>>> = {
  queued: IconHourglassEmpty,
  running: IconPlayerPlayFilled,
  awaiting_human: IconHandStop,
  paused: IconPlayerPauseFilled,
  achieved: IconCheck,
  failed: IconX,
  aborted: IconBan,
}

type Props = {
  readonly status: RunStatus
  readonly size?: 'sm' | 'lg'
  /** Shown while the pointer is on it. */
  readonly why?: string | undefined
  /** What speaks against the goal, although it was reached. */
  readonly doubt?: string | undefined
  /** Its place among those that wait for their turn, from 1. */
  readonly place?: number | undefined
}

export function StatusPill({ status, size = 'sm', why, doubt, place }: Props) {
  const names = useStatusNames()
  const Icon = doubt === undefined ? ICONS[status] : IconAlertTriangle
  return (
    <span
      className={classes.pill}
      title={doubt === undefined ? why : visible(doubt)}
      data-status={status}
      data-doubted={doubt !== undefined}
      data-size={size}
    >
      {status === 'running' ? (
        <span className={classes.pulse} aria-hidden />
      ) : (
        <Icon size={size === 'lg' ? 15 : 13} stroke={2.4} aria-hidden />
      )}
      {names[status]}
      {place !== undefined && `, place ${place}`}
      {doubt !== undefined && ', in doubt'}
    </span>
  )
}
