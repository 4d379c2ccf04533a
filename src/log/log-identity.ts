import { randomUUID } from 'node:crypto'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { OWN_STREAM_PREFIX } from '../domain/fields.ts'
import { messageOf } from '../lib/message-of.ts'
import type { AppendError, EventStore, StoreFailure } from '../store/event-store.ts'
import { storedValue } from './codec.ts'
import { appendAfter } from './decider.ts'
import { eventAt, type StreamReader } from './stream-pages.ts'

/** The stream that names the log. */
export const LOG_ID_STREAM = `${OWN_STREAM_PREFIX}log`
const KIND = 'log_created'
const LogCreated = z.strictObject({ log_id: z.uuid() })

export type LogIdError = UnreadLogId | Extract<AppendError, { type: 'outcome_unknown' }>

type UnreadLogId =
  | StoreFailure
  /** The stream that names the log does not hold a log id. */
  | { readonly type: 'log_id_unreadable'; readonly message: string }

/**
 * The identity of a log. The first process that asks creates it, and it never changes. So what was derived from one
 * log is never taken for that of another.
 */
export function ensureLogId(store: EventStore): ResultAsync<string, LogIdError> {
  return new ResultAsync(readOrCreate(store))
}

async function readOrCreate(store: EventStore): Promise<Result<string, LogIdError>> {
  const before = await readLogId(store)
  if (before.isErr()) return err(before.error)
  if (before.value !== null) return ok(before.value)
  const data: z.infer<typeof LogCreated> = { log_id: randomUUID() }
  const event = { id: randomUUID(), type: KIND, data: JSON.stringify(data), metadata: '{}' }
  const failure = await appendAfter(store, LOG_ID_STREAM, -1, [event])
  if (failure === null) return ok(data.log_id)
  if (failure.type !== 'wrong_expected_revision') return err(failed(failure))
  // Another process was faster.
  return (await readLogId(store)).andThen((id) => (id === null ? err(failed(failure)) : ok(id)))
}

const failed = (failure: AppendError): LogIdError =>
  failure.type === 'wrong_expected_revision' || failure.type === 'append_too_large'
    ? { type: 'store_failed', message: `the log took no identity: ${failure.type}` }
    : failure

/** Null if the log has no identity yet. */
export async function readLogId(store: StreamReader): Promise<Result<string | null, UnreadLogId>> {
  const found = await eventAt(store, LOG_ID_STREAM, 0)
  if (found.isErr()) return err(found.error)
  const event = found.value
  if (event === null) return ok(null)
  const problem = (message: string) =>
    err<string | null, UnreadLogId>({ type: 'log_id_unreadable', message })
  if (event.type !== KIND) return problem(`${LOG_ID_STREAM} does not begin with ${KIND}`)
  try {
    return ok(LogCreated.parse(storedValue(event)).log_id)
  } catch (cause) {
    return problem(messageOf(cause))
  }
}

/** The stream of heartbeats of the servers that share a log. It is not a ledger: the store may remove old ones. */
export const SERVERS_STREAM = `${OWN_STREAM_PREFIX}servers`
