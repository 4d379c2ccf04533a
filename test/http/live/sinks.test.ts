import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { LIVE_LIMITS } from '../../../src/http/live/deps.ts'
import { type Frame, FrameBuffer } from '../../../src/http/live/frame.ts'
import { SocketWriter } from '../../../src/http/live/sinks.ts'

test('frames that are adjacent in memory are written together, in order with other frames', () => {
  const writes: string[] = []
  const connection = Object.assign(new PassThrough(), {
    write: (bytes: Buffer) => writes.push(bytes.toString('latin1')),
  })
  const socket = Object.assign(new EventEmitter(), {
    readyState: 1,
    OPEN: 1,
    bufferedAmount: 0,
    send: (payload: Buffer) => writes.push(payload.toString()),
  })
  const writer = new SocketWriter(socket as never, connection as never, LIVE_LIMITS)
  const buffer = new FrameBuffer(16)
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(
    (text) => buffer.add(2, (memory, at) => memory.write(text + text, at)) as Frame,
  )
  if (!(a && b && c && d)) throw new Error('four frames')
  writer.cork()
  for (const frame of [a, b, d]) writer.sendRecord(frame)
  writer.sendNotice(Buffer.from('notice'))
  writer.sendRecord(c)
  expect(writes).toEqual(['\x81\x02aa\x81\x02bb', '\x81\x02dd', 'notice'])
  writer.uncork()
  expect(writes.at(-1)).toBe('\x81\x02cc')
})
