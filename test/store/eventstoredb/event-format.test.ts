import shared from '@eventstore/db-client/generated/shared_pb.js'
import generated from '@eventstore/db-client/generated/streams_pb.js'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readMessage } from '../../../src/store/eventstoredb/event-format.ts'

const { ReadResp } = generated
const { ReadEvent, Checkpoint } = ReadResp
const MAX_POSITION = 2n ** 63n - 1n

const encoded = (message: InstanceType<typeof ReadResp>): Buffer =>
  Buffer.from(message.serializeBinary())
const bytesOf = (text: string): Uint8Array => Buffer.from(text)

test('an event is read as the generated code writes it', () => {
  const Event = fc.record({
    stream: fc.string({ minLength: 1, unit: 'grapheme' }),
    id: fc.uuid(),
    revision: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    type: fc.string({ unit: 'grapheme' }),
    data: fc.json(),
    metadata: fc.json(),
    created: fc.nat({ max: 4_000_000_000_000 }),
    commit: fc.bigInt(0n, MAX_POSITION),
    prepare: fc.bigInt(0n, MAX_POSITION),
  })
  const read = fc.property(Event, (event) => {
    const { stream, id, revision, type, data, metadata, created, commit, prepare } = event
    const recorded = new ReadEvent.RecordedEvent()
      .setId(new shared.UUID().setString(id.toUpperCase()))
      .setStreamIdentifier(new shared.StreamIdentifier().setStreamName(bytesOf(stream)))
      .setStreamRevision(String(revision))
      .setCommitPosition(String(commit))
      .setPreparePosition(String(prepare))
      .setData(bytesOf(data))
      .setCustomMetadata(bytesOf(metadata))
    recorded
      .getMetadataMap()
      .set('created', String(BigInt(created) * 10_000n))
      .set('content-type', 'application/json')
      .set('type', type)
    const message = new ReadEvent().setEvent(recorded).setCommitPosition(String(commit))
    expect(readMessage(encoded(new ReadResp().setEvent(message)))).toEqual({
      type: 'event',
      event: {
        place: { commit, prepare },
        recorded: {
          stream,
          id,
          revision,
          type,
          created,
          data: JSON.stringify(JSON.parse(data)),
          metadata: JSON.stringify(JSON.parse(metadata)),
          position: `${commit}:${prepare}`,
        },
      },
    })
  })
  fc.assert(read)
})

test('what is not an event is read as the generated code writes it', () => {
  const place = new Checkpoint().setCommitPosition('12345').setPreparePosition(String(MAX_POSITION))
  const messages = [
    [new ReadResp().setCheckpoint(place), 'passed'],
    [new ReadResp().setStreamNotFound(new ReadResp.StreamNotFound()), 'stream_not_found'],
    [new ReadResp().setFellBehind(new ReadResp.FellBehind()), 'fell_behind'],
    [new ReadResp().setCaughtUp(new ReadResp.CaughtUp()), 'other'],
    [new ReadResp().setFirstStreamPosition('7'), 'other'],
    [new ReadResp().setEvent(new ReadEvent().setCommitPosition('7')), 'other'],
  ] as const
  for (const [message, type] of messages) expect(readMessage(encoded(message)).type).toBe(type)
  expect(readMessage(encoded(new ReadResp().setCheckpoint(place)))).toMatchObject({
    place: { commit: 12_345n, prepare: MAX_POSITION },
  })
})

test('a message that is cut off is refused', () => {
  const recorded = new ReadEvent.RecordedEvent().setData(bytesOf('{"a":1}'))
  const whole = encoded(new ReadResp().setEvent(new ReadEvent().setEvent(recorded)))
  for (let length = 1; length < whole.length; length += 1) {
    expect(() => readMessage(whole.subarray(0, length))).toThrow(RangeError)
  }
})
