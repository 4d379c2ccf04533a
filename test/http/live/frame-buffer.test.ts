import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import WebSocket from 'ws'
import { FrameBuffer, frameSize } from '../../../src/http/live/frame-buffer.ts'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

let server: Server
let client: WebSocket
let accepted: Socket
beforeEach(async () => {
  server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const [request, socket] = await once(server, 'upgrade')
  accepted = socket
  const key = `${request.headers['sec-websocket-key']}${GUID}`
  const accept = createHash('sha1').update(key).digest('base64')
  const head = ['HTTP/1.1 101 OK', 'Upgrade: websocket', 'Connection: Upgrade']
  socket.write([...head, `Sec-WebSocket-Accept: ${accept}`, '\r\n'].join('\r\n'))
  await once(client, 'open')
})
afterEach(() => {
  client.terminate()
  accepted.destroy()
  server.close()
})

it('encodes frames that a WebSocket client decodes to the same texts, of every size', async () => {
  const texts = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000].map((bytes) => 'x'.repeat(bytes))
  const buffer = new FrameBuffer(texts.reduce((sum, { length }) => sum + frameSize(length), 0))
  const frames = texts.map((text) =>
    buffer.add(text.length, (memory, at) => void memory.write(text, at)),
  )
  const received: string[] = []
  const all = new Promise<void>((resolve) => {
    client.on('message', (data, isBinary) => {
      expect(isBinary).toBe(false)
      if (received.push(String(data)) === texts.length) resolve()
    })
  })
  const bytes = frames.map(({ memory, start, end }) => memory.subarray(start, end))
  accepted.write(Buffer.concat(bytes))
  await all
  expect(received).toEqual(texts)
  expect(frames.map(({ memory, at, end }) => memory.toString('utf8', at, end))).toEqual(texts)
})

it('puts them one after the other', () => {
  const buffer = new FrameBuffer(2 * frameSize(3))
  const first = buffer.add(3, () => {})
  const second = buffer.add(3, () => {})
  expect(second.memory).toBe(first.memory)
  expect(second.start).toBe(first.end)
  expect(() => buffer.add(1, () => {})).toThrow(RangeError)
})
