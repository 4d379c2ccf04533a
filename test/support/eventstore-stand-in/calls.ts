import type { ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js'
import type { ServerWritableStream, StatusObject } from '@grpc/grpc-js'
import type { Faults } from './faults.ts'
import type { Log, LoggedEvent } from './log.ts'
import { eventMessage } from './messages.ts'

/** How many calls the stand-in got, and how many events it has sent. */
export type Calls = {
  batchAppends: number
  /** Reads and subscriptions that have not ended. */
  openReads: number
  /** Events that were written to readers, whether the readers have taken them or not. */
  eventsSent: number
}

export type Context = { readonly log: Log; readonly faults: Faults; readonly calls: Calls }

export type ReadCall = ServerWritableStream<ReadReq, ReadResp>

/** Writes at the reader's pace. False if the reader has disconnected. */
export async function write(call: ReadCall, message: ReadResp): Promise<boolean> {
  if (call.cancelled || call.destroyed) return false
  if (!call.write(message)) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const events = ['drain', 'cancelled', 'close']
    for (const event of events) call.on(event, resolve)
    await promise
    for (const event of events) call.off(event, resolve)
  }
  return !call.cancelled && !call.destroyed
}

export function writeEvent(
  { calls }: Context,
  call: ReadCall,
  event: LoggedEvent,
): Promise<boolean> {
  calls.eventsSent += 1
  return write(call, eventMessage(event))
}

/** Ends the call with an error. */
export function refuse(call: ReadCall, reason: Partial<StatusObject>): false {
  call.emit('error', reason)
  return false
}
