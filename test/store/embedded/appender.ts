import { randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../../src/store/event-store.ts'

/**
 * A process of its own for the tests: `appender.ts FILE WRITERS BYTES`. Prints `open` or `refused …`, then appends until
 * it is killed or an append fails, and prints a line for each acknowledged event: stream, revision, id. After a failure
 * it prints `failed …` and how many events can still be read. Then it waits for the end of its standard input.
 */

const [file = '', writers = '1', bytes = '0'] = process.argv.slice(2)
const say = (...words: readonly (string | number)[]): void => {
  process.stdout.write(`${words.join(' ')}\n`)
}

async function write(store: EventStore, stream: string): Promise<void> {
  for (;;) {
    const data = JSON.stringify({ x: 'x'.repeat(Number(bytes)) })
    const events = [0, 1].map(() => ({ id: randomUUID(), type: 'told', data, metadata: '{}' }))
    const appended = await store.append(stream, events, { expectedRevision: 'any' })
    if (appended.isErr()) {
      const read = await store.readStream(stream, {
        from: 0,
        direction: 'forward',
        limit: 4096,
      })
      const readable = read.isOk() ? read.value.length : -1
      say('failed', stream, readable, JSON.stringify(appended.error))
      return
    }
    for (const [index, { id }] of events.entries()) {
      say(stream, appended.value.revision - 1 + index, id)
    }
  }
}

const opened = await openEmbeddedStore({ file })
if (opened.isErr()) {
  say('refused', opened.error.message)
} else {
  say('open')
  const streams = Array.from({ length: Number(writers) }, (_, n) => `stream-${n}`)
  await Promise.all(streams.map((stream) => write(opened.value, stream)))
  for await (const _ of createInterface(process.stdin));
  await opened.value.close()
}
