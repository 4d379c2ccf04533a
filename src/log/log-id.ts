import { randomUUID } from 'node:crypto'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { OWN_STREAM_PREFIX } from '../domain/own-streams.ts'
import { messageOf } from '../lib/message-of.ts'
import type { EventStore, NewEvent, StoreFailure } from '../store/event-store.ts'
import { storedValue } from './codec.ts'

/** The stream that names the log. */
export const LOG_ID_STREAM = `${OWN_STREAM_PREFIX}log`
const KIND = 'log_created'
const LogCreated = z.strictObject({ log_id: z.uuid() })

/** How often the log is asked again after an append whose outcome is not known. */
const ATTEMPTS = 5

export type LogIdError =
  | StoreFailure
  /** The stream that names the log holds something else. */
  | { readonly type: 'log_id_unreadable'; readonly message: string }

/**
 * The identity of a log, which it gets from the first process that asks and keeps for ever. What was
 * derived from one log is never taken for that of another.
 */
export function ensureLogId(store: EventStore): ResultAsync<string, LogIdError> {
  return new ResultAsync(readOrCreate(store))
}

async function readOrCreate(store: EventStore): Promise<Result<string, LogIdError>> {
  const event = logCreated()
  let lastProblem = ''
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const known = await read(store)
    if (known.isErr() || known.value !== null) return known as Result<string, LogIdError>
    const appended = await store.append(LOG_ID_STREAM, [event], { expectedRevision: 'no_stream' })
    if (appended.isErr()) {
      const { error } = appended
      if (error.type === 'store_unavailable' || error.type === 'store_failed') return err(error)
      lastProblem = error.type
    }
  }
  return err({ type: 'store_unavailable', message: `the log took no identity: ${lastProblem}` })
}

function logCreated(): NewEvent {
  const data: z.infer<typeof LogCreated> = { log_id: randomUUID() }
  return { id: randomUUID(), type: KIND, data: JSON.stringify(data), metadata: '{}' }
}

/** Null where the log has no identity yet. */
async function read(store: EventStore): Promise<Result<string | null, LogIdError>> {
  const page = await store.readStream(LOG_ID_STREAM, { from: 0, direction: 'forward', limit: 1 })
  if (page.isErr()) return page.error.type === 'stream_not_found' ? ok(null) : err(page.error)
  const [event] = page.value
  const problem = (message: string) =>
    err<string | null, LogIdError>({ type: 'log_id_unreadable', message })
  if (event?.type !== KIND) return problem(`${LOG_ID_STREAM} does not begin with ${KIND}`)
  try {
    return ok(LogCreated.parse(storedValue(event)).log_id)
  } catch (cause) {
    return problem(messageOf(cause))
  }
}
