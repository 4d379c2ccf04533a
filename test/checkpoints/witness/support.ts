import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { okAsync } from 'neverthrow'
import { onTestFinished } from 'vitest'
import type { RunHead } from '../../../src/api/audit.ts'
import { CheckpointWriter } from '../../../src/checkpoints/checkpoint-writer.ts'
import { type Keyring, openKeyring } from '../../../src/checkpoints/keyring.ts'
import { OwnLog } from '../../../src/checkpoints/witness/own-log.ts'
import { Witnesses } from '../../../src/checkpoints/witness/witnesses.ts'
import { noteOf, readNoteKey } from '../../../src/lib/signed-note.ts'
import { ensureLogId } from '../../../src/log/log-identity.ts'
import type { EventStore } from '../../../src/store/event-store.ts'
import { memoryStore } from '../../support/memory-store.ts'
import { until } from '../../support/site.ts'

export const SERVER = '11111111-1111-4111-8111-111111111111'
const OTHER = '22222222-2222-4222-8222-222222222222'

export const idOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

export type Named = { readonly key: string; readonly url: string }

/** What a server has of its log of checkpoints, over a store in memory. */
export class Checkpointing {
  readonly store: EventStore
  readonly keyring: Keyring
  readonly runs = new Map<string, RunHead>()
  readonly logged: { readonly level: 'info' | 'warn'; readonly message: string }[] = []
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
    const dir = await mkdtemp(join(tmpdir(), 'retrai-log-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    const keyring = keys ?? (await openKeyring(join(dir, 'keys'), () => new Date()))._unsafeUnwrap()
    ;(await ensureLogId(store))._unsafeUnwrap()
    return new Checkpointing(store, keyring)
  }

  #open(): OwnLog {
    const { store, keyring, serverId } = this
    return new OwnLog({ store, keyring, serverId, needed: 1 })
  }

  #writes(): CheckpointWriter {
    const { store, keyring, ownLog, runs } = this
    const heads = (after: string, limit: number) =>
      [...runs.values()]
        .filter(({ run_id }) => run_id > after)
        .sort((a, b) => (a.run_id < b.run_id ? -1 : 1))
        .slice(0, limit)
    const { followed } = ownLog
    return new CheckpointWriter({
      ...{ store, keyring, followed, runs: { heads } },
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
    const head = await this.head()
    return noteOf(
      (
        await this.ownLog.cosigned(size === undefined ? head : this.ownLog.head(size))
      )._unsafeUnwrap(),
    )
  }

  async key(): Promise<string> {
    await this.head()
    return (await this.ownLog.key())._unsafeUnwrap()
  }

  witnesses(
    named: readonly Named[],
    more: Partial<ConstructorParameters<typeof Witnesses>[0]> = {},
  ): Witnesses {
    const { ownLog, store, keyring, logged } = this
    const note = (level: 'info' | 'warn') => (_fields: object, message: string) =>
      void logged.push({ level, message })
    const witnesses = new Witnesses({
      ...{ ownLog, store, keyring, quorum: 1, fetch, retryMs: [5, 50] },
      witnesses: named.map(({ key, url }) => ({
        key: readNoteKey(key, 'cosignature')._unsafeUnwrap(),
        url,
      })),
      renewServerId: () => {
        this.serverId = OTHER
        return okAsync(OTHER)
      },
      log: { info: note('info'), warn: note('warn') },
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
