import { randomUUID } from 'node:crypto'
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js'
import { type Context, type ReadCall, refuse, write, writeEvent } from './calls.ts'
import type { LoggedEvent } from './log.ts'
import { nameOf, notFound, tombstoned } from './messages.ts'
import { NOT_READY, notLeader } from './server-info.ts'
import { subscribeToAll, subscribeToStream } from './subscriptions.ts'

type Options = NonNullable<ReturnType<ReadReq['getOptions']>>

/** The Read call: a page of a stream or of $all, or a subscription to either. */
export function readHandler(context: Context): IStreamsServer['read'] {
  const { faults, calls } = context
  return async (call) => {
    calls.openReads += 1
    call.once('close', () => {
      calls.openReads -= 1
    })
    await faults.delay()
    const refused = notLeader(faults, call.metadata)
    if (refused !== null) return refuse(call, refused === 'not ready' ? NOT_READY : refused)
    const options = call.request.getOptions()
    if (options === undefined) return call.end()
    if (!options.hasSubscription()) return readPage(context, call, options)
    const stream = options.getStream()
    const id = randomUUID()
    if (stream === undefined) return subscribeToAll(context, call, options, id)
    return subscribeToStream(context, call, nameOf(stream.getStreamIdentifier()), id)
  }
}

async function readPage(context: Context, call: ReadCall, options: Options): Promise<void> {
  const { log } = context
  const stream = options.getStream()
  const name = nameOf(stream?.getStreamIdentifier())
  const state = stream === undefined ? 'readable' : log.stateOf(name)
  if (state === 'tombstoned') {
    refuse(call, tombstoned(name))
    return
  }
  if (state === 'missing') {
    await write(call, notFound(name))
    call.end()
    return
  }
  const events = stream === undefined ? log.all : log.readable(name)
  for (const event of page(events, options)) {
    if (!(await writeEvent(context, call, event))) return
  }
  call.end()
}

function page(events: readonly LoggedEvent[], options: Options): LoggedEvent[] {
  const stream = options.getStream()
  const from = stream ?? options.getAll()
  const place = (event: LoggedEvent) => (stream === undefined ? event.position : event.revision)
  const named = stream?.hasRevision()
    ? BigInt(stream.getRevision())
    : BigInt(options.getAll()?.getPosition()?.getCommitPosition() ?? 0)
  const count = Number(options.getCount())
  if (options.getReadDirection() === 1) {
    let end = events.length
    if (from?.hasStart()) end = Math.min(1, end)
    else if (!from?.hasEnd()) end = firstIndex(events, (event) => place(event) > named)
    return events.slice(Math.max(0, end - count), end).reverse()
  }
  if (from?.hasEnd()) return []
  const first = from?.hasStart() ? 0 : firstIndex(events, (event) => place(event) >= named)
  return events.slice(first, first + count)
}

/** The index of the first event for which this holds, if it also holds for all later events. */
function firstIndex(
  events: readonly LoggedEvent[],
  holds: (event: LoggedEvent) => boolean,
): number {
  let low = 0
  let high = events.length
  while (low < high) {
    const middle = (low + high) >> 1
    const event = events[middle]
    if (event !== undefined && holds(event)) high = middle
    else low = middle + 1
  }
  return low
}
