import { setTimeout } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { EventStore, StoreFailure } from '../event-store.ts'
import { ClientStore } from './client-store.ts'
import { connect } from './connect.ts'
import { namedDeadline } from './connection-options.ts'
import { redacted, redactor } from './redact.ts'

/** How long the server may take over one call. */
const CALL_TIMEOUT_MS = 10_000
/** How long opening the store waits for a first answer. */
const FIRST_ANSWER_MS = 2_000

export type EventStoreDbOptions = {
  /** `esdb://…` or `esdb+discover://…` */
  readonly connectionString: string
  /** Hears of lost connections. Passwords are taken out. */
  readonly log?: (message: string) => void
  /** How long a call waits for its answer, in milliseconds; else `defaultDeadline` of the string. */
  readonly timeoutMs?: number
}

/**
 * Opens a store in an EventStoreDB. A server that cannot be reached is no error: the store answers
 * `store_unavailable` until it can be.
 * @returns `store_failed` for a bad connection string, or a server that refuses the credentials
 */
export function openEventStoreDb(
  options: EventStoreDbOptions,
): ResultAsync<EventStore, StoreFailure> {
  const redact = redactor(options.connectionString)
  const log = (message: string) => options.log?.(redact(message))
  const open = async (): Promise<Result<EventStore, StoreFailure>> => {
    const client = connect(options.connectionString, log)
    if (client.isErr()) return err(redacted(client.error, redact))
    const timeoutMs =
      options.timeoutMs ?? namedDeadline(options.connectionString) ?? CALL_TIMEOUT_MS
    const store = new ClientStore(client.value, { timeoutMs, redact, log })
    const first = await firstAnswer(store)
    if (first === null || first.isOk()) return ok(store)
    log(first.error.message)
    if (first.error.type === 'store_unavailable') return ok(store)
    await store.close()
    return err(first.error)
  }
  return new ResultAsync(open())
}

/** Null where there is none yet. */
async function firstAnswer(store: EventStore): Promise<Result<void, StoreFailure> | null> {
  const waited = new AbortController()
  const silence = setTimeout(FIRST_ANSWER_MS, null, waited).catch(() => null)
  return Promise.race([store.ping(), silence]).finally(() => waited.abort())
}
