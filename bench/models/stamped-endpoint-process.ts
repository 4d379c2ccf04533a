/**
 * A model that streams over chat completions, as a process of its own. The first piece of its text is the time at which
 * it was sent. It ends with the process that started it.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { portOf } from '../live/process.ts'
import { now } from '../live/writer.ts'

/** Words of a reply, and the pause before each: about as fast as a model writes. */
const WORDS = 40
const PAUSE_MS = 10

const chunk = (delta: object, finish_reason: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`

const server = createServer(async (request, response) => {
  request.resume()
  await once(request, 'end')
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(chunk({ role: 'assistant', content: `${now()}\n` }))
  for (let word = 0; word < WORDS; word += 1) {
    await delay(PAUSE_MS)
    response.write(chunk({ content: `${word} is a word\n` }))
  }
  response.end(`${chunk({}, 'stop')}data: [DONE]\n\n`)
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.once('disconnect', () => {
  server.close()
  server.closeAllConnections()
})
process.send?.({ url: `http://127.0.0.1:${portOf(server)}/v1` })
