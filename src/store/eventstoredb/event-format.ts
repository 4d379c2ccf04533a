import { type EventData, jsonEvent } from '@eventstore/db-client'
import type { ReadResp } from '@eventstore/db-client/generated/streams_pb.js'
import * as z from 'zod'
import { plainMetadata } from '../../lib/plain-metadata.ts'
import type { NewEvent, Position, RecordedEvent } from '../event-store.ts'
import type { LogPosition } from './protocol.ts'

const utf8 = new TextEncoder()

/**
 * A JSON event, so that EventStoreDB's own pages can show it and its projections can read it.
 * @throws SyntaxError if the data is not JSON text
 */
export function toEventData({ id, type, data, metadata }: NewEvent): EventData {
  const value: unknown = JSON.parse(data)
  // The client's types leave out JSON's numbers and null; its serializer does not. Metadata is sent as
  // the bytes it is: the client would drop what is falsy.
  return jsonEvent({ id, type, data: { toJSON: () => value }, metadata: utf8.encode(metadata) })
}

/** An event with its place in $all. */
export type StoredEvent = { readonly recorded: RecordedEvent; readonly place: LogPosition }

/** EventStoreDB counts time in these. */
const TICKS_PER_MS = 10_000

/** Null for a link to an event that is not there any more. */
export function toStoredEvent(message: ReadResp): StoredEvent | null {
  const event = message.getEvent()?.getEvent()
  if (event === undefined) return null
  const headers = event.getMetadataMap()
  const isJson = headers.get('content-type') === 'application/json'
  const data = textOf(event.getData_asU8())
  const metadata = textOf(event.getCustomMetadata_asU8())
  const place = {
    commit: BigInt(event.getCommitPosition()),
    prepare: BigInt(event.getPreparePosition()),
  }
  return {
    place,
    recorded: {
      stream: textOf(event.getStreamIdentifier()?.getStreamName_asU8() ?? new Uint8Array()),
      id: (event.getId()?.getString() ?? '').toLowerCase(),
      revision: Number(event.getStreamRevision()),
      type: headers.get('type') ?? '',
      data: isJson ? asWritten(data) : data,
      metadata: plainMetadata(metadata) === null ? asWritten(metadata || 'null') : metadata,
      position: encodePosition(place),
      created: Math.floor(Number(headers.get('created') ?? 0) / TICKS_PER_MS),
    },
  }
}

/** Node decodes a Buffer much faster than a TextDecoder does. */
const textOf = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('utf8')

/** JSON text as `JSON.stringify` writes it; other text as it is. */
function asWritten(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}

/** Links, tombstones and other events that EventStoreDB writes into streams for itself. */
export const isSystemEvent = ({ recorded }: StoredEvent): boolean => recorded.type.startsWith('$')

const PositionText = z.string().regex(/^\d+:\d+$/)

const encodePosition = ({ commit, prepare }: LogPosition): Position => {
  return `${commit}:${prepare}`
}

/** @throws ZodError for a position that is not of this store */
export function decodePosition(position: Position): LogPosition {
  const [commit = '', prepare = ''] = PositionText.parse(position).split(':')
  return { commit: BigInt(commit), prepare: BigInt(prepare) }
}

/** A read of a stream may return another prepare position than $all, where commit and prepare are equal. */
export const positionInAll = ({ recorded, place: { commit } }: StoredEvent): RecordedEvent => {
  return { ...recorded, position: encodePosition({ commit, prepare: commit }) }
}
