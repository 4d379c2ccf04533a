import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js'
import { Refused, within } from './calls.ts'
import type { Message, StoredEvent } from './event-format.ts'
import { cancel, openRead, type Protocol, type ReadCall } from './protocol.ts'

const ignore = (): void => {}

/**
 * Reads to the end. Leaves no call open on the server, whatever happens.
 * @throws NotAnswered after `ms`, Refused with `stream-not-found`, or an error of gRPC
 */
export async function readPage(
  protocol: Protocol,
  request: ReadReq,
  ms: number,
): Promise<StoredEvent[]> {
  const opened = openRead(protocol, request)
  try {
    return await within(ms, opened.then(collect))
  } catch (cause) {
    opened.then(cancel, ignore)
    throw cause
  }
}

function collect(call: ReadCall): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  return new Promise((resolve, reject) => {
    call
      .on('error', reject)
      .on('end', () => resolve(events))
      .on('data', (message: Message) => {
        if (message.type === 'event') events.push(message.event)
        if (message.type === 'stream_not_found') reject(NOT_FOUND)
      })
  })
}

const NOT_FOUND = new Refused({ type: 'stream-not-found', message: 'the stream does not exist' })
