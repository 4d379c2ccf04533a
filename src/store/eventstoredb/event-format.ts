import { type EventData, jsonEvent, type Position as LogPosition } from '@eventstore/db-client'
import * as z from 'zod'
import type { NewEvent, Position, RecordedEvent } from '../event-store.ts'

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

/** The fields of the client's event that we use; its own type depends on the event's. */
export type StoredEvent = {
  readonly streamId: string
  readonly id: string
  readonly revision: bigint
  readonly type: string
  readonly isJson: boolean
  readonly data: unknown
  readonly metadata?: unknown
  readonly created: Date
  readonly position?: LogPosition
}

/** JSON text of a value that the client has parsed. Bytes that it could not parse stay as they are. */
function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8')
  return JSON.stringify(value ?? null)
}

export function toRecordedEvent(event: StoredEvent): RecordedEvent {
  return {
    stream: event.streamId,
    id: event.id.toLowerCase(),
    revision: Number(event.revision),
    type: event.type,
    data: textOf(event.data),
    metadata: textOf(event.metadata),
    position: event.position === undefined ? '' : encodePosition(event.position),
    created: event.created.getTime(),
  }
}

/** Links, tombstones and other events that EventStoreDB writes into streams for itself. */
export const isSystemEvent = (event: StoredEvent): boolean => event.type.startsWith('$')

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
export const positionInAll = (event: StoredEvent): StoredEvent => {
  if (event.position === undefined) return event
  const { commit } = event.position
  return { ...event, position: { commit, prepare: commit } }
}
