import type { RunStatus } from '../../../src/api/records.ts'

export const STATUS_NAMES: Readonly<Record<RunStatus, string>> = {
  queued: 'Queued',
  running: 'Running',
  awaiting_human: 'Waits for you',
  paused: 'Paused',
  achieved: 'Achieved',
  failed: 'Failed',
  aborted: 'Aborted',
}

/** For people who may not decide. */
export const NAMES_FOR_OTHERS: typeof STATUS_NAMES = {
  ...STATUS_NAMES,
  awaiting_human: 'Waits for a person',
}

export const hasEnded = (status: RunStatus): boolean =>
  status !== 'queued' && status !== 'running' && status !== 'awaiting_human' && status !== 'paused'
