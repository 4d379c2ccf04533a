import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import {
  type Frame,
  FrameBuffer,
  frameSize,
  framesOf,
  payloadOf,
} from '../../../src/http/live/frame.ts'
import type { LoadedRun } from '../../../src/log/run-log.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { eventsOf } from '../../audit/support.ts'
import { validRun } from '../../support/run-records.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'
function frameOf(
  event: RecordedEvent,
  isProjected: boolean,
  form: 'record' | 'with_meta' = 'record',
): Frame {
  const projected = { state: { seq: event.revision } } as LoadedRun
  const readModel = { get: () => (isProjected ? projected : null) }
  const [frame] = framesOf([event], { form, ofAll: false, readModel })
  if (frame === undefined) throw new Error('an event has a frame')
  return frame
}

const textOf = (frame: Frame): string => payloadOf(frame).toString()

describe('the frame of a stored event', () => {
  test('is the same whether the event was projected before or not', () => {
    fc.assert(
      fc.property(validRun(fc.constant(RUN)), (records) => {
        for (const event of eventsOf(records)) {
          const frame = frameOf(event, true)
          expect(frame).toEqual(frameOf(event, false))
          const expected = { ...JSON.parse(event.data), seq: event.revision }
          expect(JSON.parse(textOf(frame))).toEqual(expected)
        }
      }),
      { numRuns: 30 },
    )
  })

  const [created] = eventsOf(
    fc.sample(validRun(fc.constant(RUN)), { numRuns: 1, seed: 1 })[0] ?? [],
  )
  if (created === undefined) throw new Error('a run has a first record')

  test('is the same if another writer formatted the record differently', () => {
    const spelt = {
      ...created,
      data: ` ${JSON.stringify(JSON.parse(created.data), null, 2)}\n`,
    }
    expect(frameOf(spelt, true)).toEqual(frameOf(created, true))
  })

  test('holds id and metadata on one line if they are requested', () => {
    const spelt = { ...created, metadata: JSON.stringify(JSON.parse(created.metadata), null, 2) }
    for (const event of [created, spelt]) {
      const text = textOf(frameOf(event, true, 'with_meta'))
      const meta = JSON.parse(created.metadata)
      expect(text).not.toContain('\n')
      expect(JSON.parse(text)).toEqual({
        ...JSON.parse(created.data),
        seq: 0,
        id: created.id,
        meta,
      })
    }
  })

  test('reports damage if its metadata is requested and is not JSON', () => {
    const event = { ...created, metadata: created.metadata.slice(0, -1) }
    expect(frameOf(event, true).damage).toBe(null)
    expect(frameOf(event, true, 'with_meta').damage).toContain('Record 0')
  })

  test.each([
    ['broken JSON', { data: '{' }],
    ['JSON that is not a record', { data: '{"kind":"run_created"}' }],
    ['an unknown kind', { type: 'odd', data: created.data.replace('run_created', 'odd') }],
    ['a newer schema', { metadata: created.metadata.replace('"schema":1', '"schema":99') }],
    ['no metadata', { metadata: '' }],
  ])('reports damage for %s', (_, change) => {
    const frame = frameOf({ ...created, ...change }, false)
    const { damage, kind } = frame
    expect([damage, kind]).toEqual([expect.stringContaining('Record 0'), 'error'])
    expect(JSON.parse(textOf(frame))).toMatchObject({ seq: 0, payload: { message: damage } })
  })
})

test('frames in one buffer are what a WebSocket client decodes, of every size, and no more than fit', async () => {
  const texts = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000].map((bytes) => 'x'.repeat(bytes))
  const buffer = new FrameBuffer(texts.reduce((sum, { length }) => sum + frameSize(length), 0))
  const frames = texts.map((text) =>
    buffer.add(text.length, (memory, at) => void memory.write(text, at)),
  )
  const sockets = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(sockets, 'listening')
  const client = new WebSocket(`ws://127.0.0.1:${(sockets.address() as AddressInfo).port}`)
  const received: string[] = []
  client.on('message', (data, isBinary) => received.push(isBinary ? '' : String(data)))
  const [, { socket }] = await once(sockets, 'connection')
  socket.end(Buffer.concat(frames.map(({ memory, start, end }) => memory.subarray(start, end))))
  await once(client, 'close')
  sockets.close()
  expect(received).toEqual(texts)
  expect(frames.map(({ memory, at, end }) => memory.toString('utf8', at, end))).toEqual(texts)
  expect(() => buffer.add(1, () => {})).toThrow(RangeError)
})
