import generatedShared from '@eventstore/db-client/generated/shared_pb.js'
import generatedStreams from '@eventstore/db-client/generated/streams_pb.js'
import { Metadata, status } from '@grpc/grpc-js'
import type { LoggedEvent } from './log.ts'

const { Empty, StreamIdentifier, UUID } = generatedShared
const { ReadResp } = generatedStreams
const { ReadEvent, Checkpoint, StreamNotFound, SubscriptionConfirmation } = ReadResp

type ReadMessage = InstanceType<typeof ReadResp>

function identifier(stream: string): InstanceType<typeof StreamIdentifier> {
  return new StreamIdentifier().setStreamName(Buffer.from(stream))
}

export function nameOf(id: InstanceType<typeof StreamIdentifier> | undefined): string {
  return Buffer.from(id?.getStreamName_asU8() ?? []).toString('utf8')
}

export function eventMessage(event: LoggedEvent): ReadMessage {
  const position = event.position.toString()
  const recorded = new ReadEvent.RecordedEvent()
    .setId(new UUID().setString(event.id))
    .setStreamIdentifier(identifier(event.stream))
    .setStreamRevision(event.revision.toString())
    .setCommitPosition(position)
    .setPreparePosition(position)
    .setData(event.data)
    .setCustomMetadata(event.metadata)
  recorded.getMetadataMap().set('type', event.type)
  recorded.getMetadataMap().set('content-type', event.contentType)
  recorded.getMetadataMap().set('created', event.created.toString())
  return new ReadResp().setEvent(new ReadEvent().setEvent(recorded).setCommitPosition(position))
}

export const confirmation = (id: string): ReadMessage => {
  return new ReadResp().setConfirmation(new SubscriptionConfirmation().setSubscriptionId(id))
}

export const checkpoint = (position: bigint): ReadMessage => {
  const text = position.toString()
  const place = new Checkpoint().setCommitPosition(text).setPreparePosition(text)
  return new ReadResp().setCheckpoint(place)
}

export const notFound = (stream: string): ReadMessage => {
  return new ReadResp().setStreamNotFound(
    new StreamNotFound().setStreamIdentifier(identifier(stream)),
  )
}

export const caughtUp = (): ReadMessage => new ReadResp().setCaughtUp(new ReadResp.CaughtUp())
export const fellBehind = (): ReadMessage => new ReadResp().setFellBehind(new ReadResp.FellBehind())
export const empty = (): InstanceType<typeof Empty> => new Empty()

/** An error as EventStoreDB sends it: its name is in the trailers. */
export function refusal(exception: string, trailers: Readonly<Record<string, string>> = {}) {
  const metadata = new Metadata()
  metadata.set('exception', exception)
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value)
  return { code: status.FAILED_PRECONDITION, details: exception, metadata }
}

export const tombstoned = (stream: string) => refusal('stream-deleted', { 'stream-name': stream })
export const wrongVersion = (stream: string, expected: string, actual: bigint | null) =>
  refusal('wrong-expected-version', {
    'stream-name': stream,
    'expected-version': expected,
    ...(actual !== null && { 'actual-version': String(actual) }),
  })
