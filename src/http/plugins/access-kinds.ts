import type { GrantedKind } from '../../domain/access.ts'

/**
 * What the addresses show of the log, by their operationId; how long it is watched is told apart. A test
 * holds that every address that shows something is in the list.
 */
export const SHOWN: Readonly<Record<string, GrantedKind>> = {
  listRuns: 'runs_listed',
  getRun: 'run_read',
  diffRun: 'run_read',
  readConversation: 'run_read',
  readArtifact: 'run_read',
  runEvents: 'run_read',
  listRedactions: 'run_read',
  watchRun: 'run_watched',
  exportRun: 'run_exported',
  proveRun: 'run_verified',
  proveInclusion: 'run_verified',
  allEvents: 'feed_read',
  watchAll: 'feed_watched',
  listCheckpoints: 'checkpoints_read',
  readCheckpoint: 'checkpoints_read',
  listCheckpointRuns: 'checkpoints_read',
  listAccesses: 'ledger_read',
  proveAccesses: 'ledger_read',
  listLedgers: 'ledger_read',
  readLedger: 'ledger_read',
  listTokens: 'ledger_read',
}
