import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { Logger } from 'pino'
import { Auth, type AuthDeps } from '../auth/auth.ts'
import { openKeptTokens } from '../auth/token-ledger.ts'
import { OWN_STREAM_PREFIX } from '../domain/fields.ts'
import type { Signing } from '../log/chain.ts'
import { RUN_STREAM_PREFIX } from '../log/run-log.ts'
import { Projector } from '../projections/projector.ts'
import { openReadModel, type SqliteReadModel } from '../projections/sqlite-read-model.ts'
import { TagLedger } from '../projections/tag-ledger.ts'
import { withRedactions } from '../redaction/redaction-index.ts'
import { Redactor } from '../redaction/redactor.ts'
import type { RecentArtifacts } from '../retention/recent-artifacts.ts'
import { Retention } from '../retention/retention.ts'
import { openEmbeddedStore } from '../store/embedded/embedded-store.ts'
import type { EventStore } from '../store/event-store.ts'
import type { EventStoreDbOptions } from '../store/eventstoredb/eventstoredb-store.ts'
import { around } from './around.ts'
import { isLocal, type Settings } from './settings.ts'

/** What nearly every part of the server needs. */
export type Parts = {
  readonly settings: Settings
  readonly log: Logger
  /** The log without redacted text. */
  readonly store: EventStore
  readonly artifacts: RecentArtifacts
  readonly readModel: SqliteReadModel
  readonly projector: Projector
}

/** Seconds since the epoch, with a fraction, as in all records. */
export const now = (): number => Date.now() / 1000

export const date = (): Date => new Date()

const LOG_REPLACED =
  'the event store came back with another log, for instance an empty one or an older backup: the server ends, and begins with that log when it is started again'

/** The same for observers. The reason of a WebSocket's close has at most 123 bytes. */
const LOG_REPLACED_CLOSE =
  'the event store came back with another log; the server ends, and begins with it at its next start'

const NOT_SIGNED = { type: 'store_failed', message: LOG_REPLACED } as const

/** The log with what is made of it. */
export type History = Pick<Parts, 'store' | 'readModel' | 'projector'> & {
  /** The log as it is stored. */
  readonly ledger: EventStore
  readonly redactor: Redactor
  readonly retention: Retention
  readonly auth: Auth
  readonly tags: TagLedger
  /** Signs entries of this log, and none of another that the store holds later: the key may not be in that. */
  readonly sign: Signing
  /** Why observers lose their sockets, if the store holds another log than before; else null. */
  readonly whyClosing: () => string | null
}

/** Opens the log, the tokens in it, and the read model, which it lets catch up with the log. The error is a text for people. */
export async function openHistory(
  settings: Settings,
  {
    log,
    opened,
    sign: signAlways,
    onLogReplaced,
  }: {
    readonly log: Logger
    readonly sign: Signing
    /** Closes everything that is opened here. */
    readonly opened: AsyncDisposableStack
    /** Called if the store holds another log than before. */
    readonly onLogReplaced?: () => void
  },
): Promise<Result<History, string>> {
  const stored = await openStore(settings, log)
  if (stored.isErr()) return err(stored.error)
  const ledger = around.store(stored.value)
  const redactor = new Redactor({ store: ledger, log })
  let isReplaced = false
  const sign: Signing = () =>
    signAlways().andThen((signer) => (isReplaced ? err(NOT_SIGNED) : ok(signer)))
  const retention = new Retention({ ledger, sign, now, log })
  const { isGone } = retention
  const store = withRedactions(ledger, {
    ready: () => redactor.ready().andThen(() => retention.work.ready()),
    apply: (event) => redactor.apply(event),
    isGone,
  })
  opened.defer(() => store.close())
  opened.defer(() => redactor.stop())
  const auth = await openAuth(settings, { log, store, sign })
  if (auth.isErr()) return err(auth.error)
  opened.defer(() => auth.value.close())
  const readModelFile = join(settings.RETRAI_DATA_DIR, 'read-model.sqlite')
  const readModel = openReadModel({ file: readModelFile, log })
  if (readModel.isErr()) return err(readModel.error.message)
  opened.defer(() => readModel.value.close())
  const tags = new TagLedger({ store, sign, log }, readModel.value)
  opened.defer(() => tags.close())
  const asOfNow = redactor.apply.bind(redactor)
  const projector = new Projector({
    store,
    readModel: readModel.value,
    log,
    asOfNow,
    isGone,
    onLogReplaced: (reason) => {
      log.error({ reason }, LOG_REPLACED)
      isReplaced = true
      onLogReplaced?.()
    },
  })
  opened.defer(() => projector.stop())
  const whyClosing = () => (isReplaced ? LOG_REPLACED_CLOSE : null)
  const made = { ledger, store, redactor, retention, auth: auth.value, readModel: readModel.value }
  return ok({ ...made, tags, sign, projector, whyClosing })
}

async function openStore(settings: Settings, log: Logger): Promise<Result<EventStore, string>> {
  const { EVENTSTORE_URL: connectionString, RETRAI_DATA_DIR: dataDir } = settings
  if (connectionString === undefined) {
    const opened = await openEmbeddedStore({ file: join(dataDir, 'log.sqlite') })
    return opened.mapErr(({ message }) => message)
  }
  return openWritable({
    connectionString,
    log: (message) => log.warn(message),
  })
}

/** Opens an EventStoreDB whose user may write the log, or does not answer now. The error is a text for people. */
export async function openWritable(
  options: EventStoreDbOptions,
): Promise<Result<EventStore, string>> {
  // Loaded only here, so that a server without EventStoreDB does not wait for its client.
  const { openEventStoreDb } = await import('../store/eventstoredb/eventstoredb-store.ts')
  const opened = await openEventStoreDb(options)
  if (opened.isErr()) return err(opened.error.message)
  const missing = await missingRight(opened.value)
  if (missing === null) return ok(opened.value)
  await opened.value.close()
  return err(missing)
}

/** One stream of each kind that a server writes. Neither ever exists. */
const PROBED = [`${RUN_STREAM_PREFIX}${randomUUID()}`, `${OWN_STREAM_PREFIX}right-to-write`]

/**
 * Why the user of the store may not write the log, as a sentence for people; null if the user may, or if the store does
 * not answer now. To find out, the server appends to each stream after a revision that it cannot have. If the user has
 * the right, the store answers that the revision is wrong. So nothing is ever written.
 */
export async function missingRight(store: Pick<EventStore, 'append'>): Promise<string | null> {
  const event = { id: randomUUID(), type: 'probe', data: '{}', metadata: '{}' }
  for (const stream of PROBED) {
    const probed = await store.append(stream, [event], {
      expectedRevision: Number.MAX_SAFE_INTEGER,
    })
    if (probed.isErr() && probed.error.type === 'store_failed') {
      const prefix = stream.startsWith(RUN_STREAM_PREFIX) ? RUN_STREAM_PREFIX : OWN_STREAM_PREFIX
      return `The server cannot write streams named ${prefix}… . ${probed.error.message}`
    }
  }
  return null
}

/** How long the server waits to learn whether there are tokens, if it may not listen without any. */
const TOKENS_WITHIN_MS = 10_000

/** Opens the tokens. A server that listens beyond loopback needs one; the error is a text for people. */
async function openAuth(
  settings: Settings,
  deps: Pick<AuthDeps, 'store' | 'sign' | 'log'>,
): Promise<Result<Auth, string>> {
  const { RETRAI_LISTEN: address, RETRAI_TOKEN: configured = null, EVENTSTORE_URL } = settings
  // An embedded log can always be read, so its tokens need no copy.
  const file = EVENTSTORE_URL && join(settings.RETRAI_DATA_DIR, 'tokens.json')
  const kept = file && (await openKeptTokens(file))
  const auth = new Auth({ ...deps, configured, clock: now, ...(kept && { kept }) })
  if (isLocal(address) || configured !== null) return ok(auth)
  const read = await auth.read(TOKENS_WITHIN_MS)
  if (read && auth.guarded) return ok(auth)
  await auth.close()
  const why = read ? 'there is none' : 'the log cannot be read to see whether there is one'
  return err(
    `This server runs shell commands, so it listens beyond this machine only if it has a token, and ${why}. Set RETRAI_TOKEN to a secret (openssl rand -hex 32), or make one with "retrai token create NAME --role admin" while the server is on 127.0.0.1.`,
  )
}
