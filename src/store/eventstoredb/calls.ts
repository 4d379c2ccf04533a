import { setImmediate } from 'node:timers/promises'
import { convertToCommandError } from '@eventstore/db-client'
import * as z from 'zod'
import { Backoff, type PauseBoundsMs } from '../../lib/backoff.ts'
import { within } from '../../lib/promises.ts'
import type { AppendError, ExpectedRevision, ReadError, StoreFailure } from '../event-store.ts'

/** How often a call is repeated with the leader that the last server named. */
const MAX_LEADERS = 3

/**
 * Makes a call. Repeats it if the server is not the leader and so did nothing. When a call fails, the client has already
 * replaced a broken connection, so a later call may succeed.
 */
export async function call<T>(once: () => Promise<T>): Promise<T> {
  for (let leaders = 1; ; leaders += 1) {
    try {
      return await once()
    } catch (cause) {
      await setImmediate()
      if (!isNotLeader(cause) || leaders >= MAX_LEADERS) throw cause
    }
  }
}

/** Pauses between two attempts at an append that the server dropped, in milliseconds. */
const DROPPED_MS: PauseBoundsMs = [20, 500]

/**
 * Makes an append. Repeats it while the server drops it as one of two that arrived at the same time, and if it was sent
 * to a node that is not the leader. The ids and the expected revision are the same each time, so it is stored once.
 * @param once makes the append, and rejects with NotAnswered after so many milliseconds
 * @param ms the time limit of all attempts
 */
export async function appendWithin<T>(ms: number, once: (ms: number) => Promise<T>): Promise<T> {
  const end = performance.now() + ms
  const left = (): number => Math.max(1, Math.ceil(end - performance.now()))
  const backoff = new Backoff(DROPPED_MS)
  let unknown: unknown = null
  for (;;) {
    try {
      return await once(left())
    } catch (cause) {
      // After an attempt whose outcome is unknown, only the stream itself says that nothing was stored.
      if (!mayBeRepeated(cause)) throw unknown === null || isOtherRevision(cause) ? cause : unknown
      unknown = cause
      if (!(await backoff.wait(AbortSignal.timeout(left())))) throw cause
    }
  }
}

/** Rejects with NotAnswered after `ms`. Ignores what the promise does later. */
export const inTime = <T>(ms: number, answer: Promise<T>): Promise<T> =>
  within(ms, answer, () => {
    throw new NotAnswered(`no answer within ${ms} ms`)
  })

/** The server got a request, or may have got it, and has not answered. */
export class NotAnswered extends Error {
  override readonly name = 'NotAnswered'
  /** @param cause why the call ended, if it has */
  constructor(message: string, cause?: Error) {
    super(message, { cause })
  }
}

/** An answer that is a refusal, as in the errors of the client; `commit-timeout`, `bad-request` and `not-ready` are of batch appends. */
type Refusal = {
  readonly type: string
  readonly message: string
  readonly actualVersion?: bigint | 'no_stream'
  readonly maxAppendSize?: number
}

export const refused = (refusal: Refusal): Error =>
  Object.assign(new Error(refusal.message), refusal)

/** What the client's errors have in common. Some are its own classes, some are those of gRPC. */
const Fault = z.looseObject({
  type: z.string().optional().catch(undefined),
  code: z.number().optional().catch(undefined),
  message: z.string().catch(''),
  actualVersion: z
    .union([z.bigint(), z.literal('no_stream')])
    .optional()
    .catch(undefined),
  maxAppendSize: z.number().optional().catch(undefined),
})

/** The trailers of a gRPC error name EventStoreDB's own errors. */
const faultOf = (cause: unknown) =>
  Fault.parse(cause instanceof Error ? convertToCommandError(cause) : Object(cause))

/** gRPC codes of an answer that means that nothing was done, and that will be the same next time. */
const REFUSED = new Set([3, 5, 6, 7, 8, 9, 11, 12, 16])
/** gRPC codes of a server that is not there, or not now. */
const ABSENT = new Set([1, 4, 10, 14])
/** gRPC code of an append that the server has dropped. */
const ABORTED = 10
/** gRPC's words for a connection that broke during a call. Their code is that of an internal error. */
const BROKEN = /RST_STREAM|ECONNRESET|EPIPE/
/** gRPC gave up before it had sent anything. */
const NEVER_SENT =
  /No connection established|Name resolution failed|Failed to discover|Channel has been shut down/
/** What gRPC adds to some messages, usually without a note. */
const NO_NOTE = 'Resolution note:'

export function clientMessageOf(cause: unknown): string {
  const { message, type } = faultOf(cause)
  const said = message.trimEnd()
  const own = said.endsWith(NO_NOTE) ? said.slice(0, -NO_NOTE.length).trimEnd() : said
  return own || type || String(cause)
}

const isA = (type: string) => (cause: unknown) => faultOf(cause).type === type

/** The server is not the leader. The client connects to the leader that it named. */
const isNotLeader = isA('not-leader')

/** gRPC gave up before it had sent anything. */
export const neverSent = (cause: unknown): boolean => NEVER_SENT.test(faultOf(cause).message)

/** Whether an append failed in a way in which the same append may well succeed at once. */
const mayBeRepeated = (cause: unknown): boolean =>
  isDropped(cause) || (cause instanceof NotAnswered && isNotLeader(cause.cause))

/** The server waited in vain for an append to be committed, such as the second of two that are the same. */
const isDropped = (cause: unknown): boolean => {
  const { code, type, message } = faultOf(cause)
  return type === 'commit-timeout' || (code === ABORTED && /commit phase timeout/i.test(message))
}

const isOtherRevision = isA('wrong-expected-version')

/** The stream was tombstoned: it will never exist again. */
export const isTombstone = isA('stream-deleted')

const unavailable = (message: string): StoreFailure => {
  // The client does not say why it finds no node.
  const advice = message.includes('Failed to discover') ? ` ${CHECK_URL}` : ''
  return { type: 'store_unavailable', message: `EventStoreDB does not answer: ${message}${advice}` }
}
const CHECK_URL = 'If its nodes run, check the hosts, tls and tlsCAFile in EVENTSTORE_URL.'
const failed = (message: string): StoreFailure => {
  return { type: 'store_failed', message: `EventStoreDB refused: ${message}` }
}

/** What went wrong, and what a refusal for want of rights means for the person who runs the server. */
function wordsOf(cause: unknown): string {
  const { type, code } = faultOf(cause)
  if (code === 16) {
    return 'it does not know the user in EVENTSTORE_URL, or not with this password. Correct EVENTSTORE_URL.'
  }
  return code === 7 || type === 'access-denied'
    ? 'the user in EVENTSTORE_URL lacks a right. It must read and write the streams run-… and retrai-…, and read $all (for instance as a member of $admins).'
    : clientMessageOf(cause)
}

export function storeFailure(cause: unknown): StoreFailure {
  const { type, code } = faultOf(cause)
  const message = wordsOf(cause)
  if (cause instanceof NotAnswered || type === 'not-leader' || NEVER_SENT.test(message)) {
    return unavailable(message)
  }
  const absent = (code !== undefined && ABSENT.has(code)) || BROKEN.test(message)
  return absent ? unavailable(message) : failed(message)
}

export function readError(cause: unknown, stream: string): ReadError {
  const { type } = faultOf(cause)
  if (type === 'stream-not-found' || type === 'stream-deleted') {
    return { type: 'stream_not_found', stream }
  }
  return storeFailure(cause)
}

/** An append that is not certainly refused may be stored: its outcome is unknown. */
export function appendError(
  cause: unknown,
  append: { readonly expected: ExpectedRevision; readonly bytes: number },
): AppendError {
  const { type, code, actualVersion, maxAppendSize } = faultOf(cause)
  const message = wordsOf(cause)
  const unknown: AppendError = {
    type: 'outcome_unknown',
    message: `EventStoreDB did not confirm: ${message}`,
  }
  if (cause instanceof NotAnswered) return unknown
  switch (type) {
    case 'wrong-expected-version': {
      const actual = typeof actualVersion === 'bigint' ? Number(actualVersion) : 'no_stream'
      return { type: 'wrong_expected_revision', expected: append.expected, actual }
    }
    case 'maximum-append-size-exceeded':
      return { type: 'append_too_large', bytes: append.bytes, limit: maxAppendSize ?? 0 }
    case 'stream-deleted':
    case 'access-denied':
    case 'bad-request':
      return failed(message)
    case 'not-leader':
    case 'not-ready':
      return unavailable(message)
  }
  if (NEVER_SENT.test(message)) return unavailable(message)
  if (code !== undefined && REFUSED.has(code)) return failed(message)
  return unknown
}
