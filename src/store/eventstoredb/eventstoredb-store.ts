import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { within } from '../../lib/within.ts'
import type { EventStore, StoreFailure } from '../event-store.ts'
import { readAddress } from './address.ts'
import { THE_USER } from './calls.ts'
import { type AnsweringNode, ClientStore } from './client-store.ts'
import {
  connect,
  namedDeadline,
  scrubbed,
  scrubber,
  silenceServername,
  unusable,
} from './connect.ts'

/** How long the server may take for one call. */
const CALL_TIMEOUT_MS = 10_000
/** How long opening the store waits for a first answer. */
const FIRST_ANSWER_MS = 2_000

export type EventStoreDbOptions = {
  /** `esdb://…` or `esdb+discover://…` */
  readonly connectionString: string
  /** Logs lost connections, without passwords. */
  readonly log?: (message: string) => void
  /** Called at the first answer of the store. */
  readonly onAnswer?: (node: AnsweringNode) => void
  /** How long a call waits for its answer, in milliseconds; else `defaultDeadline` of the string. */
  readonly timeoutMs?: number
}

/**
 * Opens a store in an EventStoreDB. If the server cannot be reached, that is not an error here: all calls fail with
 * `store_unavailable` until it can be reached.
 * @returns `store_failed` for a bad connection string, or a server that refuses the credentials
 */
export function openEventStoreDb(
  options: EventStoreDbOptions,
): ResultAsync<EventStore, StoreFailure> {
  const scrub = naming(options.connectionString, scrubber(options.connectionString))
  const log = (message: string) => options.log?.(scrub(message))
  const open = async (): Promise<Result<EventStore, StoreFailure>> => {
    const address = readAddress(options.connectionString)
    if (address.isErr()) return err(unusable(address.error))
    silenceServername()
    const client = connect(address.value.connectionString, log)
    if (client.isErr()) return err(scrubbed(client.error, scrub))
    const timeoutMs =
      options.timeoutMs ?? namedDeadline(options.connectionString) ?? CALL_TIMEOUT_MS
    const store = new ClientStore(client.value, {
      ...{ address: address.value, timeoutMs, scrub, log },
      onAnswer: options.onAnswer ?? (() => {}),
    })
    const first = await within(FIRST_ANSWER_MS, store.ping(), () => null)
    const failure = first?.isErr() ? first.error : null
    if (first !== null && failure === null) return ok(store)
    if (failure === null || failure.type === 'store_unavailable') {
      void store.diagnose().then((why) => log(why || 'EventStoreDB does not answer yet.'))
      return ok(store)
    }
    log(failure.message)
    await store.close()
    return err(failure)
  }
  return new ResultAsync(open())
}

/** Names the user in messages about rights. */
const naming = (connectionString: string, scrub: (text: string) => string) => {
  const user = /:\/\/([^:@/?]*):[^@/?]*@/.exec(connectionString)?.[1]
  if (user === undefined || user === '') return scrub
  return (text: string) => scrub(text).replaceAll(THE_USER, `the user "${user}" in EVENTSTORE_URL`)
}
