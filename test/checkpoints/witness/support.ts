import { okAsync } from 'neverthrow'
import { onTestFinished } from 'vitest'
import type { RunHead } from '../../../src/api/audit.ts'
import { CheckpointWriter, type WriterDeps } from '../../../src/checkpoints/checkpoint-writer.ts'
import { type Keyring, openKeyring } from '../../../src/checkpoints/keyring.ts'
import { OwnLog } from '../../../src/checkpoints/witness/own-log.ts'
import { Witnesses } from '../../../src/checkpoints/witness/witnesses.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { noteOf, readNoteKey } from '../../../src/lib/signed-note.ts'
import { ensureLogId } from '../../../src/log/log-identity.ts'
import type { LoadedRun } from '../../../src/log/run-log.ts'
import type { EventStore } from '../../../src/store/event-store.ts'
import { testFolder } from '../../store/embedded/support.ts'
import { append, prepare } from '../../support/append-records.ts'
import { memoryStore } from '../../support/memory-store.ts'
import { until } from '../../support/site.ts'

export const SERVER = '11111111-1111-4111-8111-111111111111'
const OTHER = '22222222-2222-4222-8222-222222222222'

export const idOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

export type Named = { readonly key: string; readonly url: string }

/** What a read model has of these runs. */
export const projected = (runs: ReadonlyMap<string, RunHead>): WriterDeps['runs'] => ({
  heads: (after, limit) =>
    [...runs.values()]
      .filter(({ run_id }) => run_id > after)
      .sort((a, b) => (a.run_id < b.run_id ? -1 : 1))
      .slice(0, limit),
})

/** What a server has of its log of checkpoints, over a store in memory. */
export class Checkpointing {
  readonly store: EventStore
  readonly keyring: Keyring
  readonly runs = new Map<string, RunHead>()
  readonly logged: { readonly level: 'info' | 'warn'; readonly message: string }[] = []
  readonly log = {
    info: (_fields: object, message: string) => void this.logged.push({ level: 'info', message }),
    warn: (_fields: object, message: string) => void this.logged.push({ level: 'warn', message }),
  }
  ownLog: OwnLog
  #writer: CheckpointWriter
  serverId = SERVER
  /** In place of real time. */
  now = Date.now()

  private constructor(store: EventStore, keyring: Keyring) {
    this.store = store
    this.keyring = keyring
    this.ownLog = this.#open()
    this.#writer = this.#writes()
  }

  static async open(store: EventStore = memoryStore(), keys?: Keyring): Promise<Checkpointing> {
    const dir = await testFolder()
    const keyring = keys ?? (await openKeyring(dir, () => new Date()))._unsafeUnwrap()
    ;(await ensureLogId(store))._unsafeUnwrap()
    return new Checkpointing(store, keyring)
  }

  #open(): OwnLog {
    const { store, keyring, serverId } = this
    return new OwnLog({ store, keyring, serverId, needed: 1 })
  }

  #writes(): CheckpointWriter {
    const { store, keyring, ownLog, runs } = this
    const { followed } = ownLog
    return new CheckpointWriter({
      store,
      keyring,
      followed,
      runs: projected(runs),
      clock: () => new Date(this.now),
    })
  }

  /** What a new process knows. */
  restart(): void {
    this.ownLog = this.#open()
    this.#writer = this.#writes()
  }

  grow(n: number, length: number, mark = ''): void {
    const head = `${mark.padStart(8, '0')}${String(n).padStart(24, '0')}${String(length).padStart(32, '0')}`
    this.runs.set(idOf(n), { run_id: idOf(n), length, head })
  }

  /** Writes checkpoints, each over one more run. */
  async write(count = 1, mark = ''): Promise<void> {
    for (let each = 0; each < count; each += 1) {
      this.grow(this.runs.size + 1, 1, mark)
      await this.checkpoint()
    }
  }

  /** Appends a run, and writes a checkpoint over it. */
  async checkpointOver(records: readonly RunRecord[]): Promise<LoadedRun> {
    const runId = records[0]?.run_id ?? ''
    const prepared = prepare(runId, null, records, { commandId: 'test' })
    const run = (await append(this.store, prepared))._unsafeUnwrap()
    this.runs.set(runId, { run_id: runId, length: run.state.seq + 1, head: run.head })
    await this.checkpoint()
    return run
  }

  async checkpoint(): Promise<void> {
    ;(await this.#writer.write())._unsafeUnwrap()
    await this.head()
  }

  /** Writes a checkpoint, and waits until so many witnesses have seen it. */
  async writeSeen(witnesses: Witnesses, seen = 1): Promise<void> {
    await this.write()
    witnesses.notice()
    await untilSeen(witnesses, seen, (await this.head()).size)
  }

  async head() {
    return (await this.ownLog.read())._unsafeUnwrap()
  }

  async note(size?: number): Promise<string> {
    await this.head()
    return noteOf((await this.ownLog.cosigned(this.ownLog.head(size)))._unsafeUnwrap())
  }

  async key(): Promise<string> {
    await this.head()
    return (await this.ownLog.key())._unsafeUnwrap()
  }

  witnesses(
    named: readonly Named[],
    more: Partial<ConstructorParameters<typeof Witnesses>[0]> = {},
  ): Witnesses {
    const { ownLog, store, keyring, log } = this
    const witnesses = new Witnesses({
      ownLog,
      store,
      keyring,
      quorum: 1,
      fetch,
      retryMs: [5, 50],
      witnesses: named.map(({ key, url }) => ({
        key: readNoteKey(key, 'cosignature')._unsafeUnwrap(),
        url,
      })),
      renewServerId: () => {
        this.serverId = OTHER
        return okAsync(OTHER)
      },
      log,
      ...more,
    })
    onTestFinished(() => witnesses.stop())
    return witnesses
  }
}

export const untilSeen = (witnesses: Witnesses, seen: number, size: number) =>
  until(
    async () => witnesses.state(),
    ({ witnesses: all }) => all.filter((each) => each.size === size).length >= seen,
    20_000,
  )
