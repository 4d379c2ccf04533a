import { startCheckpoints } from '../audit/checkpoint-timer.ts'
import { CheckpointWriter } from '../audit/checkpoint-writer.ts'
import type { Keyring } from '../audit/keyring.ts'
import { date } from './clocks.ts'
import type { Parts } from './parts.ts'

/** Signed statements over all runs, at intervals; nothing is written unless it is asked for. */
export function startCheckpointing(
  { config, log, store, readModel }: Pick<Parts, 'config' | 'log' | 'store' | 'readModel'>,
  keyring: Keyring,
): { stop(): Promise<void> } {
  const { RETRAI_CHECKPOINT_SECONDS: seconds } = config
  if (seconds === undefined) return { stop: async () => {} }
  const writer = new CheckpointWriter({ store, runs: readModel, keyring, clock: date })
  return startCheckpoints(writer, { seconds, log })
}
