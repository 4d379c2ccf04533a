import type { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { Archived, REMOVING, type RunHold, type RunRemoval } from '../api/retention.ts'
import { OWN_STREAM_PREFIX, Sha256 } from '../domain/fields.ts'
import type { Logger } from '../lib/logger.ts'
import { timestamp } from '../lib/text.ts'
import type { Logged } from '../log/codec.ts'
import type { StreamDefinition } from '../log/decider.ts'
import { LedgerWork } from '../log/ledger-work.ts'
import { RUN_STREAM_PREFIX, runIdOf } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import type { StoreFailure } from '../store/event-store.ts'

const entry = <K extends string, P extends z.ZodRawShape>(kind: K, payload: P) =>
  z.strictObject({
    kind: z.literal(kind),
    ts: z.number().nonnegative(),
    payload: z.strictObject({ run_id: z.uuid(), ...payload }),
  })

/** A run is removed. It is appended before that happens: no run disappears without an entry. The last one of a run counts. */
const RunRemoved = entry('run_removed', {
  length: z.int().positive(),
  head: Sha256,
  rule: z.string(),
  action: z.enum(REMOVING),
  archive: Archived.exactOptional(),
})

export const RetentionEntry = z.discriminatedUnion('kind', [
  entry('run_held', { reason: z.string() }),
  entry('hold_released', { reason: z.string().nullable() }),
  RunRemoved,
])
export type RetentionEntry = z.infer<typeof RetentionEntry>
export type RunRemoved = z.infer<typeof RunRemoved>

/** Which runs of a log are on hold, and which were removed. Its state is in a `RetentionIndex`. */
export const RETENTION: StreamDefinition<RetentionEntry, null> = {
  stream: `${OWN_STREAM_PREFIX}retention`,
  schema: RetentionEntry,
  initial: null,
  evolve: () => null,
}

/** A hold, and the entry that made it. */
export type Hold = RunHold & { readonly entry: number }

/** What the ledger says about runs. */
export class RetentionIndex {
  #known = -1
  readonly holds = new Map<string, Hold>()
  readonly removals = new Map<string, RunRemoval>()

  /** An entry that is known already changes nothing. */
  add({ seq, record: { kind, payload, ts }, meta }: Logged<RetentionEntry>): void {
    if (seq <= this.#known) return
    this.#known = seq
    const at = timestamp(ts)
    const { principal = null } = meta
    const { run_id } = payload
    if (kind === 'run_held') {
      this.holds.set(run_id, { reason: payload.reason, since: at, principal, entry: seq })
    } else if (kind === 'hold_released') this.holds.delete(run_id)
    else this.removals.set(run_id, { ...payload, entry: seq, removed_at: at, principal })
  }

  /** What is recorded about the removal of the run in a stream; undefined for other streams. */
  removalIn(stream: string): RunRemoval | undefined {
    return stream.startsWith(RUN_STREAM_PREFIX) ? this.removals.get(runIdOf(stream)) : undefined
  }
}

/** Carries out what the ledger says. @param index gets its entries */
export const retentionWork = (
  store: StreamReader,
  index: RetentionIndex,
  log: Logger | null = null,
): LedgerWork<RetentionEntry> => {
  const { stream, schema } = RETENTION
  return new LedgerWork({ store, stream, schema, log, see: (entry) => index.add(entry) })
}

/** What the ledger of a log says, for a process that does not follow it. */
export function retentionIndexOf(store: StreamReader): ResultAsync<RetentionIndex, StoreFailure> {
  const index = new RetentionIndex()
  return retentionWork(store, index)
    .read()
    .map(() => index)
}
