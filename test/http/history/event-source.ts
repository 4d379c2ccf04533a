import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import type { TestServer } from '../../support/server.ts'
import { within } from '../../support/within.ts'

export type ServerSentEvent = { readonly id: string; readonly type: string; readonly data: string }

/** Parses a stream of server-sent events: blocks of fields, of which an empty line ends each. */
class EventStreamParser {
  readonly #emit: (event: ServerSentEvent) => void
  lastEventId = ''
  comments = 0
  retry: number | null = null
  #rest = ''

  constructor(emit: (event: ServerSentEvent) => void) {
    this.#emit = emit
  }

  push(text: string): void {
    const blocks = (this.#rest + text).split('\n\n')
    this.#rest = blocks.pop() ?? ''
    for (const block of blocks) this.#take(block.split('\n'))
  }

  #take(lines: readonly string[]): void {
    const of = (field: string): string[] =>
      lines
        .filter((line) => line.startsWith(`${field}: `))
        .map((line) => line.slice(field.length + 2))
    this.comments += lines.filter((line) => line.startsWith(':')).length
    this.lastEventId = of('id')[0] ?? this.lastEventId
    this.retry = of('retry').map(Number)[0] ?? this.retry
    const [type = 'message'] = of('event')
    const data = of('data')
    if (data.length > 0) this.#emit({ id: this.lastEventId, type, data: data.join('\n') })
  }
}

/** A small EventSource: one connection, which keeps what it gets. */
export class EventReader {
  readonly events: ServerSentEvent[] = []
  readonly parser = new EventStreamParser((event) => this.events.push(event))
  readonly response: Promise<IncomingMessage>
  readonly #ended: Promise<void>
  readonly #request: ClientRequest
  #wake: () => void = () => {}
  #isOver = false

  constructor(
    { port }: Pick<TestServer, 'port'>,
    path: string,
    options: { readonly lastEventId?: string } = {},
  ) {
    const headers = {
      accept: 'text/event-stream',
      ...(options.lastEventId === undefined ? {} : { 'last-event-id': options.lastEventId }),
    }
    this.#request = request({ host: '127.0.0.1', port, path, headers, agent: false })
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = promise
    const over = () => {
      this.#isOver = true
      this.#wake()
      resolve()
    }
    this.response = new Promise((answered, reject) => {
      this.#request.once('response', (response) => {
        response.setEncoding('utf8')
        response.on('data', (text: string) => {
          this.parser.push(text)
          this.#wake()
        })
        response.on('error', () => {})
        response.once('close', over)
        answered(response)
      })
      this.#request.once('error', (error) => {
        over()
        reject(error)
      })
    })
    this.response.catch(() => {})
    this.#request.end()
  }

  /** Resolves when the response has ended or broken off. */
  get ended(): Promise<void> {
    return within(this.#ended, () => `an event stream to end after ${this.events.length} events`)
  }

  /** The frames that came, without other events. */
  get frames(): Record<string, unknown>[] {
    return this.events
      .filter(({ type }) => type === 'message')
      .map(({ data }) => JSON.parse(data) as Record<string, unknown>)
  }

  /** Resolves when `done` returns true; rejects if the response ends before. */
  async until(done: (reader: this) => boolean): Promise<void> {
    while (!done(this)) {
      if (this.#isOver) throw new Error(`over with ${this.events.length} events`)
      const next = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await within(next, () => `more than ${this.events.length} events`)
    }
  }

  leave(): void {
    this.#request.destroy()
  }
}
