import { z } from 'zod'
import type { Kind } from '../domain/records.ts'
import type { Caller, Opener } from './call.ts'
import { HistoryError, type RequestError } from './errors.ts'
import { type AgentEvent, type ChosenKind, type Kinds, readFrame } from './events.ts'
import { areAll, kindsText, wantedKinds } from './kinds.ts'
import type { ClientLimits } from './limits.ts'
import { linesOf } from './lines.ts'
import { queryOf } from './paging.ts'
import { runPath } from './run-path.ts'

export type HistoryOptions<S extends Kinds | undefined = Kinds | undefined> = {
  /** Only what is behind this seq; -1, which is the default, is all. */
  readonly after?: number | undefined
  readonly kinds?: S
  /** Whether each event is to hold `id` and `meta`, what is kept beside its record. */
  readonly meta?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export type HistoryDeps = {
  readonly call: Caller
  readonly open: Opener
  readonly limits: Pick<ClientLimits, 'silenceMs'>
}

/** The events of a run up to now. @throws HistoryError, or the reason of the signal */
export async function* readHistory<const S extends Kinds | undefined>(
  runId: string,
  { after = -1, kinds, meta = false, signal }: HistoryOptions<S>,
  { call, open, limits }: HistoryDeps,
): AsyncGenerator<AgentEvent<ChosenKind<S>>, void, undefined> {
  const wanted = wantedKinds(kinds)
  const pathBehind = (seq: number, more: { readonly limit?: number } = {}) => {
    const form = meta ? { meta: 'true' } : {}
    const query = queryOf({ after: seq, kinds: kindsText(wanted), ...form, ...more })
    return runPath(runId, `/events${query}`)
  }
  let cursor = after
  const fail = (error: RequestError): never => {
    signal?.throwIfAborted()
    throw new HistoryError(error, cursor)
  }
  const body = await open({ path: pathBehind(after), accept: 'application/x-ndjson', signal })
  if (body.isErr()) return fail(body.error)
  const batches = linesOf(body.value, limits.silenceMs)
  try {
    for (;;) {
      const batch = await batches.next().catch((cause: unknown) => String(cause))
      if (typeof batch === 'string')
        return fail(await whyBroken(batch, pathBehind(cursor, ONE), call))
      if (batch.done) return
      for (const line of batch.value) {
        signal?.throwIfAborted()
        const event = readLine(line, cursor, wanted)
        if (typeof event === 'string') return fail(notUnderstood(event))
        cursor = event.seq
        if (isWanted<ChosenKind<S>>(event, wanted)) yield event
      }
    }
  } finally {
    await batches.return()
  }
}

const ONE = { limit: 1 }

/** What a line holds, which may be a record that only a newer client knows; or what is wrong with it. */
function readLine(
  line: string,
  cursor: number,
  wanted: ReadonlySet<Kind>,
): AgentEvent | { readonly seq: number } | string {
  const read = readFrame(line)
  if (read.isErr()) return `what is no event: ${read.error}`
  const event = read.value.type === 'event' ? read.value.event : { seq: read.value.seq }
  const right = areAll(wanted) ? event.seq === cursor + 1 : event.seq > cursor
  return right ? event : `the event ${event.seq} behind ${cursor}`
}

function isWanted<K extends Kind>(
  event: AgentEvent | { readonly seq: number },
  wanted: ReadonlySet<Kind>,
): event is AgentEvent<K> & AgentEvent {
  return 'kind' in event && wanted.has(event.kind)
}

/** A stream cannot say why it breaks off; a page behind its last record can. */
async function whyBroken(what: string, path: string, call: Caller): Promise<RequestError> {
  const page = await call({ method: 'GET', path, schema: z.array(z.unknown()) })
  if (page.isErr()) return page.error
  return { type: 'unreachable', message: `The history broke off: ${what}.` }
}

const notUnderstood = (what: string): RequestError => ({
  type: 'not_understood',
  status: 200,
  message: `The server sent ${what}.`,
})
