import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { present } from '../../../src/domain/present.ts'
import type { TestServer } from '../../support/server.ts'
import { within } from '../../support/within.ts'

type ServerSentEvent = { readonly id: string; readonly type: string; readonly data: string }

/** A small EventSource: one connection, which keeps what it gets. */
export class EventReader {
  readonly events: ServerSentEvent[] = []
  lastEventId = ''
  comments = 0
  retry: number | null = null
  readonly response: Promise<IncomingMessage>
  readonly #ended = Promise.withResolvers<void>()
  readonly #request: ClientRequest
  #rest = ''
  #wake: () => void = () => {}
  #isOver = false

  constructor(
    { port }: Pick<TestServer, 'port'>,
    path: string,
    options: { readonly lastEventId?: string } = {},
  ) {
    const { lastEventId } = options
    const headers = { accept: 'text/event-stream', ...present({ 'last-event-id': lastEventId }) }
    this.#request = request({ host: '127.0.0.1', port, path, headers, agent: false })
    this.#request.on('error', () => {}).end()
    this.response = once(this.#request, 'response').then(([response]) => {
      response.setEncoding('utf8').on('data', (text: string) => this.#push(text))
      response.on('error', () => {}).once('close', () => this.#end())
      return response
    })
    this.response.catch(() => this.#end())
  }

  #end(): void {
    this.#isOver = true
    this.#wake()
    this.#ended.resolve()
  }

  /** Reads blocks of fields, of which an empty line ends each. */
  #push(text: string): void {
    const blocks = (this.#rest + text).split('\n\n')
    this.#rest = blocks.pop() ?? ''
    for (const block of blocks) this.#take(block.split('\n'))
    this.#wake()
  }

  #take(lines: readonly string[]): void {
    const of = (field: string): string[] =>
      lines.flatMap((line) => (line.startsWith(`${field}: `) ? [line.slice(field.length + 2)] : []))
    this.comments += lines.filter((line) => line.startsWith(':')).length
    this.lastEventId = of('id')[0] ?? this.lastEventId
    this.retry = of('retry').map(Number)[0] ?? this.retry
    const [type = 'message'] = of('event')
    const data = of('data')
    if (data.length === 0) return
    this.events.push({ id: this.lastEventId, type, data: data.join('\n') })
  }

  /** Resolves when the response has ended or broken off. */
  get ended(): Promise<void> {
    return within(
      this.#ended.promise,
      () => `an event stream to end after ${this.events.length} events`,
    )
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

  [Symbol.dispose](): void {
    this.leave()
  }
}
