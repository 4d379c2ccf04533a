import { StringDecoder } from 'node:string_decoder'
import {
  type JSONRPCMessage,
  ReadBuffer,
  StreamableHTTPClientTransport,
  serializeMessage,
  type Transport,
} from '@modelcontextprotocol/client'
import type { McpServer } from '../domain/mcp-servers.ts'
import { unended } from '../domain/texts.ts'
import { processMask } from '../masking/process-mask.ts'
import { fetchWith } from '../models/patient-fetch.ts'
import type { ProcessEnd, RunningProcess } from '../runner/run-command.ts'
import { isPrivateHost, PrivateAddress, publicOnly } from '../sandbox/network/public-only.ts'
import { plainWords } from './answers.ts'

/** The most bytes of one message of a server. */
const MESSAGE_BYTES = 8 * 1024 * 1024
/** How many characters are kept of what a server prints in addition to its messages, for people. */
const TAIL = 2_000
/** How long a server has to end after the end of its input. */
const END_WITHIN_MS = 1_000

/** How a server is reached, with its secrets. */
export type Endpoint =
  | { readonly start: () => Promise<RunningProcess> }
  | { readonly url: URL; readonly headers: Readonly<Record<string, string>> }

/** Called with how many bytes have come; false if a server has sent too much. */
type Accepts = (bytes: number) => boolean

export function transportTo(server: McpServer, endpoint: Endpoint, accepts: Accepts): Transport {
  if ('start' in endpoint) return new StdioTransport(endpoint.start, accepts)
  return new StreamableHTTPClientTransport(endpoint.url, {
    fetch: guardedFetch(server, accepts),
    requestInit: { headers: endpoint.headers },
  })
}

/** The messages of a server whose program the runner has started, one a line. */
export class StdioTransport implements Transport {
  onclose?: () => void
  onerror?: (error: Error) => void
  onmessage?: NonNullable<Transport['onmessage']>
  /** These two mark a program for the SDK: if it does not answer the first question, it is asked in the old way. */
  readonly pid = null
  readonly stderr = null
  readonly #starting: () => Promise<RunningProcess>
  readonly #accepts: Accepts
  readonly #messages = new ReadBuffer({ maxBufferSize: MESSAGE_BYTES })
  #process: RunningProcess | null = null
  readonly #decoder = new StringDecoder('utf8')
  #masking = processMask.pieces()
  #tail = ''
  /** Why this end has stopped the server. */
  #complaint: string | null = null
  #end: ProcessEnd | null = null

  constructor(start: () => Promise<RunningProcess>, accepts: Accepts) {
    this.#starting = start
    this.#accepts = accepts
  }

  /** Why the server is gone, as sentences for people; null if it is there. */
  get failure(): string | null {
    if (this.#complaint === null && this.#end === null) return null
    this.#keep(this.#masking.end())
    this.#masking = processMask.pieces()
    const printed = plainWords(this.#tail).trim()
    const last = printed === '' ? '' : ` It printed last: ${unended(printed)}.`
    return `${this.#complaint ?? endOf(this.#end)}${last}`
  }

  async start(): Promise<void> {
    const running = await this.#starting()
    this.#process = running
    running.stdout.on('data', (chunk: Buffer) => this.#read(chunk))
    running.stderr.on('data', (chunk: Buffer) =>
      this.#keep(this.#masking.write(this.#decoder.write(chunk))),
    )
    running.stdin.on('error', () => {})
    void running.ended.then((end) => {
      this.#end = end
      this.onclose?.()
    })
  }

  send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#process?.stdin
    if (!stdin?.writable) return Promise.reject(new Error('It has ended'))
    return new Promise((resolve, reject) => {
      stdin.write(serializeMessage(message), (cause) => (cause ? reject(cause) : resolve()))
    })
  }

  /** Ends the input of the server, and stops the server if it does not end then. */
  async close(): Promise<void> {
    const running = this.#process
    if (running === null) return
    running.stdin.end()
    const timer = setTimeout(running.stop, END_WITHIN_MS)
    await running.ended
    clearTimeout(timer)
  }

  #read(chunk: Buffer): void {
    if (!this.#accepts(chunk.length)) this.#stop('It sent more than was asked for.')
    try {
      this.#messages.append(chunk)
    } catch {
      this.#stop(`It sent a message of more than ${MESSAGE_BYTES / 1024 / 1024} MiB.`)
    }
    for (let next = this.#next(); next !== null; next = this.#next()) this.onmessage?.(next)
  }

  /** The next message; null until all of it is here. */
  #next(): JSONRPCMessage | null {
    try {
      return this.#complaint === null ? this.#messages.readMessage() : null
    } catch {
      this.#stop('It sends lines that are not messages of MCP.')
      return null
    }
  }

  #keep(masked: string): void {
    this.#tail = (this.#tail + masked).slice(-TAIL)
  }

  #stop(complaint: string): void {
    this.#complaint ??= complaint
    this.#process?.stop()
  }
}

function endOf(end: ProcessEnd | null): string {
  if (end === null) return ''
  if (end.end === 'exited') return `It ended with exit code ${end.exitCode}.`
  return end.message === '' ? `It has ended (${end.end}).` : end.message
}

const ADVICE = 'If you want that, set "private_address": true in RETRAI_MCP_SERVERS'

/**
 * A `fetch` that sends nothing to an address that is not public, whatever a name resolves to at that moment, and reads no
 * more than is allowed.
 */
function guardedFetch(
  { private_address }: Pick<McpServer, 'private_address'>,
  accepts: Accepts,
): typeof fetch {
  if (private_address === true) return fetchWith({ accepts })
  const send = fetchWith({ accepts, lookup: publicOnly(ADVICE) })
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    if (isPrivateHost(url)) throw new PrivateAddress(url.hostname, url.hostname, ADVICE)
    return send(input, init)
  }
}
