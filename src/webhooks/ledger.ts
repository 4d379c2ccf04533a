import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { ledgerStream } from '../api/audit.ts'
import { RunFilter } from '../api/webhooks.ts'
import { Sha256 } from '../domain/fields.ts'
import { ALL_KINDS } from '../domain/records.ts'
import type { Logged } from '../log/codec.ts'
import type { StreamDefinition } from '../log/decider.ts'

const Created = z.strictObject({
  id: z.uuid(),
  /** Of its address, which may hold a secret. */
  host: z.string(),
  url_sha256: Sha256,
  /** The id of the server that has the address and the secret, as it was then. */
  server: z.string(),
  kinds: z.array(z.enum(ALL_KINDS)),
  run: RunFilter,
  /** Only records after this cursor over all runs; null is all. */
  from: z.string().nullable(),
})

const entry = <K extends string, P extends z.ZodType>(kind: K, payload: P) =>
  z.strictObject({ kind: z.literal(kind), ts: z.number(), payload })

const WebhookEntry = z.discriminatedUnion('kind', [
  entry('webhook_created', Created),
  /** By the server itself: the receiver wants no more, or has taken nothing for too long. */
  entry('webhook_stopped', z.strictObject({ id: z.uuid(), reason: z.string() })),
  entry('webhook_resumed', z.strictObject({ id: z.uuid() })),
  entry('webhook_deleted', z.strictObject({ id: z.uuid() })),
])
export type WebhookEntry = z.infer<typeof WebhookEntry>

/** Times are in seconds since the epoch. */
export type Webhook = z.infer<typeof Created> & {
  readonly created_at: number
  readonly created_by: string | null
  /** Why nothing is sent until somebody resumes it; null if something is. */
  readonly stopped: string | null
}

/** All webhooks that are not deleted, by id, in the order of their creation. */
export type Subscriptions = ReadonlyMap<string, Webhook>

/** The stream of the webhooks for the servers of a log: who created, resumed and deleted them, and when they stopped. */
export const WEBHOOK_LEDGER: StreamDefinition<WebhookEntry, Subscriptions> = {
  stream: ledgerStream('webhooks'),
  schema: WebhookEntry,
  initial: new Map(),
  evolve: (before, { record: { kind, ts, payload }, meta }: Logged<WebhookEntry>) => {
    const after = new Map(before)
    const known = before.get(payload.id)
    if (kind === 'webhook_created') {
      const created_by = meta.principal ?? null
      after.set(payload.id, { ...payload, created_at: ts, created_by, stopped: null })
    } else if (kind === 'webhook_deleted') after.delete(payload.id)
    else if (known !== undefined) {
      const stopped = kind === 'webhook_stopped' ? payload.reason : null
      after.set(payload.id, { ...known, stopped })
    }
    return after
  },
}

export type UnknownWebhook = { readonly type: 'webhook_not_found' }

/** What is done with a webhook. Stopping a stopped one adds nothing, and neither does resuming another. */
export function decide(
  subscriptions: Subscriptions,
  { kind, ts, payload }: WebhookEntry,
): Result<readonly WebhookEntry[], UnknownWebhook> {
  const entries = [{ kind, ts, payload } as WebhookEntry]
  if (kind === 'webhook_created') return ok(entries)
  const known = subscriptions.get(payload.id)
  if (known === undefined) return err({ type: 'webhook_not_found' })
  const isStopped = known.stopped !== null
  const changesNothing =
    (kind === 'webhook_stopped' && isStopped) || (kind === 'webhook_resumed' && !isStopped)
  return ok(changesNothing ? [] : entries)
}
