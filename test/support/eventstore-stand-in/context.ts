import type { Faults } from './faults.ts'
import type { Log } from './log.ts'

/** What was asked of the stand-in, counted. */
export type Calls = {
  appends: number
  batchAppends: number
  /** Reads and subscriptions that have not ended. */
  openReads: number
  /** Events that were written to readers, whether they have taken them or not. */
  eventsSent: number
}

export type Context = { readonly log: Log; readonly faults: Faults; readonly calls: Calls }
