import type { Kind } from '../domain/records.ts'
import type { Logger } from '../lib/logger.ts'
import { handleCommand } from '../log/handle-command.ts'
import { runIdOf } from '../log/run-log.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'

/** Whether a server of one pool may work on a run of another. */
export const isOpenTo = (server: string | null, run: string | null): boolean =>
  server === null || run === null || server === run

/** A run of another pool that no server seems to work on. `claimant` worked on it last; null if none has. */
type Abandoned = { readonly runId: string; readonly claimant: string | null; readonly pool: string }

type Deps = {
  readonly store: EventStore
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  /** How long the servers of its pool have to take up a run, once it has no server. */
  readonly graceMs: number
  /** Milliseconds of a monotonic clock. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'info' | 'warn'>
}

/** Records after which a run still has no server. */
const WITHOUT_SERVER: ReadonlySet<string> = new Set<Kind>([
  'run_queued',
  'run_config_changed',
  'user_message',
])

/**
 * Records that runs of other pools are queued, because no server of their pool takes them up. This server may not work on
 * them, but it may be the only server that runs.
 */
export class ForeignRuns {
  readonly #deps: Deps
  /** When each run was first seen without a server; infinite once that is recorded. */
  readonly #since = new Map<string, number>()

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** To be called repeatedly while the run has no server. */
  async abandoned({ runId, claimant, pool }: Abandoned): Promise<void> {
    const { store, now, newId, graceMs, clock, log } = this.#deps
    const since = this.#since.get(runId) ?? clock()
    const isDue = clock() - since >= graceMs
    this.#since.set(runId, isDue ? Number.POSITIVE_INFINITY : since)
    if (!isDue) return
    const reason = reasonOf(claimant, pool)
    const command = { type: 'queue', reason, expected: claimant, overrides: false } as const
    const author = { commandId: newId() }
    const queued = await handleCommand(store, runId, command, { author, now })
    if (queued.isOk()) return log.info({ run_id: runId, pool }, 'no server of its pool has the run')
    if (queued.error.type === 'run_ended' || queued.error.type === 'claim_lost') return
    this.#since.set(runId, since)
    log.warn({ run_id: runId, error: queued.error }, 'a run cannot be recorded as queued')
  }

  /** A record of a run, in the order of the log. */
  note({ stream, type }: RecordedEvent): void {
    if (!WITHOUT_SERVER.has(type)) this.#since.delete(runIdOf(stream))
  }
}

function reasonOf(claimant: string | null, pool: string): string {
  const what =
    claimant === null
      ? `No server of its pool "${pool}" has taken up the run.`
      : `The server that worked on the run is gone, and no other server of its pool "${pool}" has taken it over.`
  return `${what} Start a server with RETRAI_POOL=${pool} on a machine that has the project.`
}
