import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js'
import { status } from '@grpc/grpc-js'
import { type Context, type ReadCall, refuse, write, writeEvent } from './calls.ts'
import type { LoggedEvent } from './log.ts'
import { caughtUp, checkpoint, confirmation, fellBehind, tombstoned } from './messages.ts'

type Options = NonNullable<ReturnType<ReadReq['getOptions']>>
type Filter = NonNullable<ReturnType<Options['getFilter']>>

/** The events of one stream, from the requested place on, without an end. */
export async function subscribeToStream(
  context: Context,
  call: ReadCall,
  name: string,
  id: string,
): Promise<void> {
  const { log } = context
  const from = call.request.getOptions()?.getStream()
  const events = log.events(name)
  let first = 0
  if (from?.hasRevision()) first = Number(from.getRevision()) + 1
  if (from?.hasEnd()) first = events.length
  await serve(context, { call, id, events, first }, async (event) => {
    if (log.stateOf(name) === 'tombstoned') return refuse(call, tombstoned(name))
    return !log.isReadable(event) || writeEvent(context, call, event)
  })
}

/** All events that pass the filter. If many do not pass, checkpoints report how far the search has come. */
export async function subscribeToAll(
  context: Context,
  call: ReadCall,
  options: Options,
  id: string,
): Promise<void> {
  const { log } = context
  const from = options.getAll()
  const after = BigInt(from?.getPosition()?.getCommitPosition() ?? -1)
  const next = log.all.findIndex((event) => event.position > after)
  const first = from?.hasEnd() || next < 0 ? log.all.length : next
  const filter = options.getFilter()
  const window = (filter?.getMax() || 32) * (filter?.getCheckpointintervalmultiplier() || 1)
  let considered = 0
  await serve(context, { call, id, events: log.all, first }, async (event) => {
    considered += 1
    const alive = !passes(filter, event) || (await writeEvent(context, call, event))
    if (!alive || filter === undefined || considered % window !== 0) return alive
    return write(call, checkpoint(event.position))
  })
}

function passes(filter: Filter | undefined, event: LoggedEvent): boolean {
  if (filter === undefined) return true
  const [expression, text] = filter.hasStreamIdentifier()
    ? [filter.getStreamIdentifier(), event.stream]
    : [filter.getEventType(), event.type]
  const prefixes = expression?.getPrefixList() ?? []
  if (prefixes.length > 0) return prefixes.some((prefix) => text.startsWith(prefix))
  return new RegExp(expression?.getRegex() ?? '').test(text)
}

type Served = {
  readonly call: ReadCall
  readonly id: string
  /** Grows while it is served. */
  readonly events: readonly LoggedEvent[]
  readonly first: number
}

/** Confirms, delivers history, reports `caught up`, and then delivers what is appended. */
async function serve(
  { log, faults }: Context,
  { call, id, events, first }: Served,
  deliver: (event: LoggedEvent) => Promise<boolean>,
): Promise<void> {
  let wake = (): void => {}
  let said = false
  let ended: 'normally' | 'with an error' | null = null
  // Not at once: an error that overtakes what is being written never arrives.
  const ending = (how: NonNullable<typeof ended>) => () => {
    ended ??= how
    wake()
  }
  const forget = faults.register({
    end: ending('normally'),
    fail: ending('with an error'),
    fallBehind: () => {
      said = false
      call.write(fellBehind())
      wake()
    },
  })
  const silence = log.onAppended(() => wake())
  call.on('cancelled', () => wake()).on('close', () => wake())
  try {
    let alive = await write(call, confirmation(id))
    for (let index = first; alive && ended === null; ) {
      const event = events[index]
      if (event !== undefined) {
        alive = await deliver(event)
        index += 1
      } else if (!said) {
        said = true
        alive = await write(call, caughtUp())
      } else {
        const { promise, resolve } = Promise.withResolvers<void>()
        wake = resolve
        await promise
        alive = !call.cancelled && !call.destroyed
      }
    }
    if (ended === 'normally') call.end()
    if (ended === 'with an error') {
      refuse(call, { code: status.UNAVAILABLE, details: 'Server is shutting down' })
    }
  } finally {
    forget()
    silence()
  }
}
