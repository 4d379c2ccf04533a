import type { ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js'
import type { ServerWritableStream, StatusObject } from '@grpc/grpc-js'
import type { Context } from './context.ts'
import type { LoggedEvent } from './log.ts'
import { eventMessage } from './messages.ts'

export type ReadCall = ServerWritableStream<ReadReq, ReadResp>

/** Writes at the reader's pace. False when the reader has gone. */
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
