import type { ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js'
import type { ServerWritableStream } from '@grpc/grpc-js'
import type { refusal } from './messages.ts'

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

/** Ends the call with an error. */
export function refuse(call: ReadCall, reason: ReturnType<typeof refusal>): false {
  call.destroy(Object.assign(new Error(reason.details), reason))
  return false
}
