import type { Checkpoint } from '../api/audit.ts'
import { type CheckpointTimer, startCheckpoints } from '../audit/checkpoints/checkpoint-timer.ts'
import { CheckpointWriter } from '../audit/checkpoints/checkpoint-writer.ts'
import type { Keyring } from '../audit/proofs/keyring.ts'
import { date } from './clocks.ts'
import type { Parts } from './parts.ts'

/** Signed statements over all runs, unless they are switched off. */
export function startCheckpointing(
  { settings, log, store, readModel }: Pick<Parts, 'settings' | 'log' | 'store' | 'readModel'>,
  keyring: Keyring,
  written: (checkpoint: Checkpoint) => Promise<void>,
): Pick<CheckpointTimer, 'stop'> {
  const { RETRAI_CHECKPOINT_SECONDS: seconds } = settings
  if (seconds === 0) return { stop: async () => {} }
  const writer = new CheckpointWriter({ store, runs: readModel, keyring, clock: date })
  const timer = startCheckpoints(writer, { seconds, log, written })
  readModel.whenRunEnds(() => timer.runEnded())
  return timer
}
