import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { errAsync, okAsync, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import type { DeliveryView, NewWebhookView, TestedWebhook, WebhookView } from '../api/webhooks.ts'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'
import { writeDurably } from '../lib/write-durably.ts'
import type { Signing } from '../log/chain.ts'
import type { LoadError } from '../log/decider.ts'
import { FollowedLedger } from '../log/followed-ledger.ts'
import { originOf, readRecords } from '../log/run-log.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { Deliverer } from './deliverer.ts'
import { DeliveryBook } from './delivery-book.ts'
import {
  decide,
  type Subscriptions,
  type UnknownWebhook,
  WEBHOOK_LEDGER,
  type Webhook,
  type WebhookEntry,
} from './ledger.ts'
import { newSecret, sender, urlProblem } from './send.ts'

export type WebhooksDeps = {
  readonly store: EventStore
  readonly sign: Signing
  readonly dataDir: string
  readonly serverId: string
  /** Hosts to which deliveries are sent whatever their addresses are. */
  readonly hosts: ReadonlySet<string>
  /** Whether a stream is that of a run that was removed. */
  readonly isGone: (stream: string) => boolean
  /** The tags that a run was given after it began; undefined if it was not. */
  readonly laterTags: (
    runId: string,
  ) => ResultAsync<readonly string[] | undefined, AppendError | LoadError>
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Logger
}

/** What somebody wants to be sent. */
export type WantedWebhook = Pick<Webhook, 'kinds' | 'run' | 'from'> & { readonly url: string }

export type WebhookError =
  | UnknownWebhook
  | { readonly type: 'url_refused'; readonly message: string }
  | AppendError
  | LoadError

/** The root of a run: the run that a person started, whose agent or whose sub-agents started it, or itself. */
type Root = {
  readonly runId: string
  readonly project: string
  readonly principal: string | null
  /** Those that it began with. */
  readonly tags: readonly string[]
}

const EndpointFile = z.strictObject({ url: z.string(), secret: z.string() })

/**
 * The webhooks of this server: those whose addresses and secrets are in its data folder. The ledger of the log says who
 * created them, and whether they are stopped.
 */
export class Webhooks {
  readonly #deps: WebhooksDeps
  readonly #ledger: FollowedLedger<WebhookEntry, Subscriptions>
  /** Null until there is a webhook. */
  #opened: DeliveryBook | null = null
  readonly #send: ReturnType<typeof sender>
  readonly #deliverers = new Map<string, Deliverer>()
  #isClosed = false
  /** Resolves when nothing of the deleted webhooks is left. */
  #ending: Promise<unknown> = Promise.resolve()

  /** Delivers until `close`. */
  constructor(deps: WebhooksDeps) {
    this.#deps = deps
    this.#send = sender(deps.hosts, deps.clock)
    this.#ledger = new FollowedLedger(WEBHOOK_LEDGER, deps, { changed: () => this.#takeOver() })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#ledger.close()
    await Promise.all(this.#deliverers.values().map((deliverer) => deliverer.close()))
    await this.#ending
    this.#opened?.close()
  }

  get #book(): DeliveryBook {
    const { dataDir, log } = this.#deps
    this.#opened ??= DeliveryBook.open(join(dataDir, 'webhooks.sqlite'), log)
    return this.#opened
  }

  list(): readonly WebhookView[] {
    return [...this.#deliverers.values()].map((deliverer) => deliverer.view())
  }

  get(id: string): WebhookView | null {
    return this.#deliverers.get(id)?.view() ?? null
  }

  /** The last tries, newest first; null for an unknown webhook. */
  tries(id: string): readonly DeliveryView[] | null {
    return this.#deliverers.has(id) ? this.#book.tries(id) : null
  }

  /** Sends a delivery that is about no record; null for an unknown webhook. */
  async test(id: string): Promise<TestedWebhook | null> {
    return (await this.#deliverers.get(id)?.test()) ?? null
  }

  create(wanted: WantedWebhook, principal: string): ResultAsync<NewWebhookView, WebhookError> {
    const { url, ...rest } = wanted
    const message = urlProblem(url, this.#deps.hosts)
    if (message !== null) return errAsync({ type: 'url_refused', message })
    const id = randomUUID()
    const secret = newSecret()
    const about = { host: new URL(url).host, url_sha256: sha256(url), server: this.#deps.serverId }
    const written = writeDurably(this.#file(id), JSON.stringify({ url, secret }))
    return ResultAsync.fromPromise(written, failed)
      .andThen(() => this.#record('webhook_created', { id, ...about, ...rest }, principal))
      .andThen(() => this.#own(id))
      .map((deliverer) => ({ ...deliverer.view(), secret }))
  }

  /** Lets a stopped one continue where it was, and tries at once what is held. */
  resume(id: string, principal: string): ResultAsync<WebhookView, WebhookError> {
    return this.#own(id).andThen((deliverer) =>
      this.#record('webhook_resumed', { id }, principal).map(() => {
        deliverer.retry()
        return deliverer.view()
      }),
    )
  }

  /** @returns what it was */
  delete(id: string, principal: string): ResultAsync<WebhookView, WebhookError> {
    return this.#own(id).andThen((deliverer) => {
      const before = deliverer.view()
      return this.#record('webhook_deleted', { id }, principal).map(async () => {
        await this.#ending
        return before
      })
    })
  }

  #own(id: string): ResultAsync<Deliverer, UnknownWebhook> {
    const deliverer = this.#deliverers.get(id)
    return deliverer === undefined ? errAsync({ type: 'webhook_not_found' }) : okAsync(deliverer)
  }

  #file = (id: string): string => join(this.#deps.dataDir, 'keys', `webhook-${id}.json`)

  #record<K extends WebhookEntry['kind']>(
    kind: K,
    payload: Extract<WebhookEntry, { kind: K }>['payload'],
    principal: string | null,
  ): ResultAsync<void, WebhookError> {
    const entry = { kind, ts: this.#deps.clock(), payload } as WebhookEntry
    return this.#ledger
      .extend(principal, (known) => decide(known, entry))
      .map(() => this.#takeOver())
  }

  /** Begins to deliver for new webhooks of this server, and ends that for deleted ones. */
  #takeOver(): void {
    if (this.#isClosed) return
    const { state: subscriptions } = this.#ledger
    for (const webhook of subscriptions.values()) {
      const known = this.#deliverers.get(webhook.id)
      if (known === undefined) this.#deliver(webhook)
      else known.update(webhook)
    }
    for (const [id, deliverer] of this.#deliverers) {
      if (subscriptions.has(id)) continue
      this.#deliverers.delete(id)
      this.#ending = Promise.all([this.#ending, this.#forget(id, deliverer)])
    }
  }

  /** Ends the deliveries of a deleted webhook, and removes what is kept for them. Never rejects. */
  async #forget(id: string, deliverer: Deliverer): Promise<void> {
    try {
      await deliverer.close()
      this.#book.forget(id)
      await rm(this.#file(id), { force: true })
    } catch (err) {
      this.#deps.log.warn({ err, webhook: id }, 'something of a deleted webhook is left')
    }
  }

  #deliver(webhook: Webhook): void {
    const endpoint = this.#endpointOf(webhook.id)
    if (endpoint === null) return
    const { store, clock, log, isGone } = this.#deps
    const deps = { store, clock, log, isGone, book: this.#book, send: this.#send }
    const deliverer = new Deliverer(webhook, endpoint, {
      ...deps,
      wants: (one, runId) => this.#wants(one, runId),
      stop: async (id, reason) => {
        const stopped = await this.#record('webhook_stopped', { id, reason }, null)
        if (stopped.isErr()) throw new Error(`its stop is not recorded: ${stopped.error.type}`)
        log.warn({ webhook: id, reason }, 'a webhook has stopped: retrai webhooks resume')
      },
    })
    this.#deliverers.set(webhook.id, deliverer)
  }

  /** Null for a webhook of another server. */
  #endpointOf(id: string): z.infer<typeof EndpointFile> | null {
    try {
      return EndpointFile.parse(JSON.parse(readFileSync(this.#file(id), 'utf8')))
    } catch {
      return null
    }
  }

  async #wants({ run: { project, tag, principal } }: Webhook, runId: string): Promise<boolean> {
    if (project === undefined && tag === undefined && principal === undefined) return true
    const root = await this.#rootOf(runId)
    if (root === null) return false
    if ((project ?? root.project) !== root.project) return false
    if ((principal ?? root.principal) !== root.principal) return false
    if (tag === undefined) return true
    const later = orThrow(await this.#deps.laterTags(root.runId))
    return (later ?? root.tags).includes(tag)
  }

  /** Null if its beginning is not in the log. @throws while the log cannot be read */
  async #rootOf(runId: string): Promise<Root | null> {
    const { store } = this.#deps
    const [own] = orThrow(await readRecords(store, runId, 0, 1)) ?? []
    if (own?.record.kind !== 'run_created') return null
    const { parent } = own.record.payload
    const first = parent === undefined ? own : orThrow(await originOf(store, { runId, parent }))
    if (first?.record.kind !== 'run_created') return null
    const { config, copy_of } = first.record.payload
    const project = basename(copy_of?.path ?? config.cwd)
    const principal = first.meta.principal ?? null
    return { runId: first.record.run_id, project, principal, tags: config.tags ?? [] }
  }
}

const failed = (cause: unknown) => ({ type: 'store_failed' as const, message: messageOf(cause) })

/** Null for a stream that is not in the log, and for one that is damaged. */
function orThrow<T>(read: Result<T, AppendError | LoadError>): T | null {
  if (read.isOk()) return read.value
  const { error } = read
  if (error.type === 'stream_not_found' || error.type === 'damaged_record') return null
  throw new Error('message' in error ? error.message : error.type)
}
