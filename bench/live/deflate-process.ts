/**
 * A bare `ws` server that broadcasts the records of a run, with or without permessage-deflate.
 * Argument: the mode of compression.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { type PerMessageDeflateOptions, WebSocketServer } from 'ws'
import { answerCalls } from '../support/calls.ts'
import { cpu, memory, portOf } from './process.ts'
import { RunScript } from './records.ts'
import { now } from './writer.ts'

const MODES: Readonly<Record<string, PerMessageDeflateOptions | false>> = {
  none: false,
  each: { threshold: 0, serverNoContextTakeover: true },
  stream: { threshold: 0 },
}
/** Frames that each socket gets before the server waits until they are sent. */
const FRAMES_AT_ONCE = 20

const [mode = 'none'] = process.argv.slice(2)
const http = createServer()
const perMessageDeflate = MODES[mode] ?? false
const { clients } = new WebSocketServer({ server: http, perMessageDeflate })
await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))

const TEXT = { binary: false } as const
const script = new RunScript(randomUUID())

async function broadcast(frames: readonly Buffer[]): Promise<void> {
  const sockets = [...clients]
  for (let done = 0; done < frames.length; done += FRAMES_AT_ONCE) {
    await Promise.all(
      sockets.map((socket) => {
        const gone = Promise.withResolvers<void>()
        const some = frames.slice(done, done + FRAMES_AT_ONCE)
        for (const frame of some) {
          socket.send(frame, TEXT, frame === some.at(-1) ? () => gone.resolve() : undefined)
        }
        return gone.promise
      }),
    )
  }
}

const operations = {
  port: () => portOf(http),
  memory,
  cpu,
  /** @returns when it began */
  broadcast: async (frames: number) => {
    const data = script.next(frames).events.map((event) => Buffer.from(event.data))
    const start = now()
    await broadcast(data)
    return { start }
  },
}
export type DeflateOperations = typeof operations

answerCalls(operations, async () => {
  for (const socket of clients) socket.terminate()
  http.close()
})
