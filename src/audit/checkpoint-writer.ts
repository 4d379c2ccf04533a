import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { GENESIS } from '../store/chain.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { ensureLogId, type LogIdError } from '../store/log-id.ts'
import {
  CHECKPOINT_STREAM,
  type CheckpointError,
  type CheckpointLog,
  checkpointEvent,
  latestCheckpoint,
  NO_CHECKPOINTS,
  RUNS_PER_EVENT,
  runsEvent,
} from './checkpoint-stream.ts'
import type { Keyring, KeyringFailure } from './keyring.ts'
import { LEDGER_START, ledgerEnd } from './ledgers.ts'
import { merkleRoot } from './merkle.ts'
import { leafOf, type RunHeads, sortedHeads } from './run-heads.ts'
import { checkpointHash, type Signer, seal } from './statements.ts'
import { type Checkpoint, LEDGERS, ledgerStream, type RunHead } from './views.ts'

export type WriterDeps = {
  readonly store: EventStore
  readonly runs: RunHeads
  readonly keyring: Keyring
  readonly clock: () => Date
}

export type WriteError = CheckpointError | AppendError | LogIdError | KeyringFailure

/** Runs that are looked at before others get their turn. */
const PAGE = 1000

/** Writes checkpoints over all runs and ledgers. Holds what it has read of the stream, so that a tick reads little. */
export class CheckpointWriter {
  readonly #deps: WriterDeps
  #log: CheckpointLog = NO_CHECKPOINTS

  constructor(deps: WriterDeps) {
    this.#deps = deps
  }

  /** Appends a checkpoint if a run or ledger is new or longer since the last one; else null. */
  write(): ResultAsync<Checkpoint | null, WriteError> {
    return new ResultAsync(this.#write())
  }

  async #write(): Promise<Result<Checkpoint | null, WriteError>> {
    const { store, keyring, clock } = this.#deps
    const latest = await latestCheckpoint(store, this.#log)
    if (latest.isErr()) return err(latest.error)
    this.#log = latest.value
    const grown = [...(await this.#grown(this.#log)), ...(await this.#grownLedgers(this.#log))]
    if (grown.length + this.#log.pending.length === 0) return ok(null)
    const [logId, keys] = [await ensureLogId(store), await keyring.load()]
    if (logId.isErr()) return err(logId.error)
    if (keys.isErr()) return err(keys.error)
    const checkpoint = next(this.#log, grown, logId.value, keys.value.signer, clock())
    return this.#append(this.#log.revision, grown, checkpoint)
  }

  /** A ledger that cannot be read stays as it was; verification tells of it. */
  async #grownLedgers(log: CheckpointLog): Promise<RunHead[]> {
    const known = knownHeads(log)
    const grown: RunHead[] = []
    for (const name of LEDGERS) {
      const run_id = ledgerStream(name)
      const end = (await ledgerEnd(this.#deps.store, name)).unwrapOr(LEDGER_START)
      if (end.length > (known.get(run_id)?.length ?? 0)) grown.push({ run_id, ...end })
    }
    return grown
  }

  /** Runs that are not pending yet and are new or longer than in the last checkpoint. */
  async #grown(log: CheckpointLog): Promise<RunHead[]> {
    const known = knownHeads(log)
    const grown: RunHead[] = []
    for (let after = ''; ; ) {
      const page = this.#deps.runs.heads(after, PAGE)
      for (const head of page) {
        if (head.length > (known.get(head.run_id)?.length ?? 0)) grown.push(head)
      }
      const last = page.at(-1)
      if (last === undefined) return grown
      after = last.run_id
      await new Promise(setImmediate)
    }
  }

  async #append(
    revision: number,
    grown: readonly RunHead[],
    checkpoint: Checkpoint,
  ): Promise<Result<Checkpoint, AppendError>> {
    const events = [checkpointEvent(checkpoint)]
    for (let end = grown.length; end > 0; end -= RUNS_PER_EVENT) {
      events.unshift(runsEvent(grown.slice(Math.max(0, end - RUNS_PER_EVENT), end)))
    }
    let expected = revision
    for (const event of events) {
      const expectedRevision = expected === -1 ? 'no_stream' : expected
      const appended = await this.#deps.store.append(CHECKPOINT_STREAM, [event], {
        expectedRevision,
      })
      if (appended.isErr()) return err(appended.error)
      expected = appended.value.revision
    }
    return ok(checkpoint)
  }
}

const knownHeads = ({ heads, pending }: CheckpointLog): ReadonlyMap<string, RunHead> =>
  new Map([...heads, ...pending.map((head) => [head.run_id, head] as const)])

function next(
  { checkpoint, heads, pending }: CheckpointLog,
  grown: readonly RunHead[],
  logId: string,
  signer: Signer,
  now: Date,
): Checkpoint {
  const all = new Map(heads)
  for (const head of [...pending, ...grown]) all.set(head.run_id, head)
  const root = merkleRoot(sortedHeads(all.values()).map(leafOf)).toString('hex')
  return seal<Checkpoint>(
    {
      type: 'retrai.checkpoint.v1',
      log_id: logId,
      number: checkpoint === null ? 0 : checkpoint.number + 1,
      runs: all.size,
      root,
      previous: checkpoint === null ? GENESIS : checkpointHash(checkpoint),
      signed_at: now.toISOString(),
    },
    signer,
  )
}
