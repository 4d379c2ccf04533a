import { ok, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { OWN_STREAM_PREFIX } from '../domain/fields.ts'
import { Tags } from '../domain/run-config.ts'
import type { Logged } from '../log/codec.ts'
import type { LoadError, StreamDefinition } from '../log/decider.ts'
import { FollowedLedger, type LedgerDeps } from '../log/followed-ledger.ts'
import type { AppendError } from '../store/event-store.ts'
import type { LaterTags } from './read-model.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'

/** The tags of a run were changed, maybe after its end. `ts` is in seconds since the epoch. */
const TagEntry = z.strictObject({
  kind: z.literal('run_tagged'),
  ts: z.number(),
  payload: z.strictObject({ run_id: z.uuid(), tags: Tags, reason: z.string().nullable() }),
})
type TagEntry = z.infer<typeof TagEntry>

type Tagged = ReadonlyMap<string, LaterTags>

const TAG_LEDGER: StreamDefinition<TagEntry, Tagged> = {
  stream: `${OWN_STREAM_PREFIX}tags`,
  schema: TagEntry,
  initial: new Map(),
  evolve: (tagged, { seq: revision, record: { payload } }: Logged<TagEntry>) =>
    new Map(tagged).set(payload.run_id, { tags: payload.tags, revision }),
}

/** The tags that runs were given after they began: a ledger, whose entries the read model gets. */
export class TagLedger {
  readonly #ledger: FollowedLedger<TagEntry, Tagged>

  constructor(deps: LedgerDeps, readModel: SqliteReadModel) {
    this.#ledger = new FollowedLedger(TAG_LEDGER, deps, {
      changed: ({ state }) => readModel.tag(state),
    })
  }

  /** Gives a run other tags. @param now seconds since the epoch */
  put(
    run_id: string,
    given: Pick<TagEntry['payload'], 'tags' | 'reason'>,
    { principal, now }: { readonly principal: string; readonly now: number },
  ): ResultAsync<void, AppendError | LoadError> {
    const entry = { kind: 'run_tagged', ts: now, payload: { run_id, ...given } } as const
    return this.#ledger.extend(principal, () => ok([entry])).map(() => undefined)
  }

  /** Reads what servers have appended. */
  read(): ResultAsync<Tagged, AppendError | LoadError> {
    return this.#ledger.read()
  }

  close(): Promise<void> {
    return this.#ledger.close()
  }
}
