import { randomUUID } from 'node:crypto'
import type { EventStoreDBClient } from '@eventstore/db-client'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import type { Status } from '@eventstore/db-client/generated/status_pb.js'
import type { StreamsClient } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import generated, {
  type BatchAppendReq,
  type BatchAppendResp,
} from '@eventstore/db-client/generated/streams_pb.js'
import type { ClientDuplexStream } from '@grpc/grpc-js'
import type { ExpectedRevision, NewEvent, Revision } from '../event-store.ts'
import { NotAnswered, neverSent, refused } from './calls.ts'
import {
  leaderCall,
  type Protocol,
  protocolOf,
  streamIdentifier,
  streamsClient,
} from './protocol.ts'

const { BatchAppendReq: Request } = generated
const { Empty, UUID } = shared

type Append = {
  readonly stream: string
  readonly events: readonly NewEvent[]
  readonly expectedRevision: ExpectedRevision
}

/**
 * Appends over one call, which costs a fraction of a call for each. The client has this too, but with one table of
 * unanswered appends for all connections of the process, so a lost connection rejects the appends of a healthy one, and
 * an answer that comes after that ends the process. Here each call has its own table, and late answers are dropped.
 */
export class BatchAppends {
  readonly #protocol: Protocol
  readonly #calls = new Set<BatchCall>()
  #call: BatchCall | null = null

  constructor(client: EventStoreDBClient) {
    this.#protocol = protocolOf(client)
  }

  /**
   * @returns the revision of the last event
   * @throws a refusal, NotAnswered, or an error of gRPC if nothing was sent
   */
  async append(append: Append, ms: number): Promise<Revision> {
    const client = await streamsClient(this.#protocol)
    if (this.#call?.client !== client || this.#call.isOver) {
      // What the old call has not answered yet may still be answered there.
      this.#call?.finish()
      this.#call = this.#open(client)
    }
    return this.#call.append(append, ms)
  }

  /** Call it when no append is under way. */
  close(): void {
    for (const call of this.#calls) call.cancel()
  }

  #open(client: StreamsClient): BatchCall {
    const stream = client.batchAppend(...leaderCall(this.#protocol))
    const call = new BatchCall(client, stream, (cause) => {
      this.#calls.delete(call)
      if (cause !== null) void this.#protocol.handleError(client, cause)
    })
    this.#calls.add(call)
    return call
  }
}

type Waiting = PromiseWithResolvers<Revision>

/** One call, and the appends that it has not answered. */
class BatchCall {
  readonly client: StreamsClient
  readonly #call: ClientDuplexStream<BatchAppendReq, BatchAppendResp>
  readonly #unanswered = new Map<string, Waiting>()
  #isEstablished = false
  #isFinished = false
  isOver = false

  constructor(
    client: StreamsClient,
    call: ClientDuplexStream<BatchAppendReq, BatchAppendResp>,
    onEnd: (cause: unknown) => void,
  ) {
    this.client = client
    this.#call = call
    call
      .on('metadata', () => {
        this.#isEstablished = true
      })
      .on('data', (response: BatchAppendResp) => this.#answered(response))
      .on('error', (cause) => {
        onEnd(cause)
        this.#ended(cause)
      })
      .on('end', () => {
        onEnd(null)
        this.#ended(new Error('the server ended the call'))
      })
  }

  async append(append: Append, ms: number): Promise<Revision> {
    const id = randomUUID()
    const waiting = Promise.withResolvers<Revision>()
    this.#unanswered.set(id, waiting)
    const timer = setTimeout(() => waiting.reject(new NotAnswered(`no answer within ${ms} ms`)), ms)
    this.#call.write(requestOf(id, append))
    try {
      return await waiting.promise
    } finally {
      clearTimeout(timer)
      this.#unanswered.delete(id)
      this.#endIfIdle()
    }
  }

  /** Ends the call when all its appends are answered. */
  finish(): void {
    this.#isFinished = true
    this.#endIfIdle()
  }

  cancel(): void {
    this.#call.cancel()
  }

  #endIfIdle(): void {
    if (this.#isFinished && !this.isOver && this.#unanswered.size === 0) this.#call.end()
  }

  #answered(response: BatchAppendResp): void {
    this.#isEstablished = true
    const waiting = this.#unanswered.get(response.getCorrelationId()?.getString() ?? '')
    const error = response.getError()
    if (error === undefined) waiting?.resolve(Number(response.getSuccess()?.getCurrentRevision()))
    else waiting?.reject(refusalOf(error))
  }

  #ended(cause: Error): void {
    this.isOver = true
    const nothingWasSent = !this.#isEstablished && neverSent(cause)
    for (const { reject } of this.#unanswered.values()) {
      reject(nothingWasSent ? cause : new NotAnswered(cause.message, cause))
    }
  }
}

function requestOf(id: string, { stream, events, expectedRevision }: Append): BatchAppendReq {
  const options = new Request.Options().setStreamIdentifier(streamIdentifier(stream))
  if (expectedRevision === 'any') options.setAny(new Empty())
  else if (expectedRevision === 'no_stream') options.setNoStream(new Empty())
  else options.setStreamPosition(String(expectedRevision))
  return new Request()
    .setCorrelationId(new UUID().setString(id))
    .setOptions(options)
    .setProposedMessagesList(events.map(messageOf))
    .setIsFinal(true)
}

function messageOf({ id, type, data, metadata }: NewEvent) {
  const message = new Request.ProposedMessage()
    .setId(new UUID().setString(id))
    .setData(Buffer.from(data))
    .setCustomMetadata(Buffer.from(metadata))
  message.getMetadataMap().set('type', type).set('content-type', 'application/json')
  return message
}

/** The refusal of one append. Its kind is the type of the details. */
function refusalOf(status: Status): Error {
  const details = status.getDetails()
  const name = details?.getTypeName().replace(/^.*\./, '')
  const bytes = details?.getValue_asU8() ?? new Uint8Array()
  const message = status.getMessage()
  switch (name) {
    case 'WrongExpectedVersion': {
      const wrong = shared.WrongExpectedVersion.deserializeBinary(bytes)
      const actualVersion = wrong.hasCurrentStreamRevision()
        ? BigInt(wrong.getCurrentStreamRevision())
        : 'no_stream'
      return refused({ type: 'wrong-expected-version', message, actualVersion })
    }
    case 'MaximumAppendSizeExceeded': {
      const { maxappendsize } = shared.MaximumAppendSizeExceeded.deserializeBinary(bytes).toObject()
      const type = 'maximum-append-size-exceeded'
      return refused({ type, message, maxAppendSize: maxappendsize })
    }
    case 'StreamDeleted':
      return refused({ type: 'stream-deleted', message: 'the stream was deleted' })
    case 'AccessDenied':
      return refused({ type: 'access-denied', message })
    case 'Timeout':
      return refused({ type: 'commit-timeout', message })
    case 'BadRequest': {
      const { message: why } = shared.BadRequest.deserializeBinary(bytes).toObject()
      return refused({ type: 'bad-request', message: why })
    }
    case 'Empty':
      // Not ready, too busy, or no leader: only then is there no code.
      return refused({ type: status.getCode() === 0 ? 'not-ready' : 'unknown', message })
    default:
      return refused({ type: 'unknown', message })
  }
}
