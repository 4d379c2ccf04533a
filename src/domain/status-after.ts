import type { RunRecord } from './records.ts'
import type { RunStatus } from './state.ts'

/**
 * The status of a run as of one of its records, by that record alone; null where the record leaves it
 * as it was.
 */
export function statusAfter(record: RunRecord): RunStatus | null {
  switch (record.kind) {
    case 'run_end':
      return record.payload.status
    case 'human_check_required':
      return 'awaiting_human'
    case 'run_claimed':
    case 'run_config_changed':
      return null
    default:
      return 'running'
  }
}
