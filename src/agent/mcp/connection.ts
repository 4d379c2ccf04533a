import {
  type CallToolResult,
  Client,
  type ClientOptions,
  type JsonSchemaValidator,
  SdkHttpError,
  StreamableHTTPClientTransport,
  type Tool,
  type Transport,
} from '@modelcontextprotocol/client'
import { err, ok, type Result } from 'neverthrow'
import type { McpServer } from '../../domain/mcp-servers.ts'
import type { McpListing } from '../../domain/mcp-tools.ts'
import { Backoff } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/message-of.ts'
import { within } from '../../lib/within.ts'
import type { RunningProcess } from '../../runner/start-process.ts'
import type { ToolContext, ToolOutput } from '../tools/tool.ts'
import { explained, failedCall, isFinal, isTimeout, NOT_KNOWN, shown } from './failures.ts'
import { notCalled, outputOf } from './tool-output.ts'
import { Allowance, guardedFetch, StdioTransport } from './transports.ts'

/** How a server is reached, with its secrets. */
export type Endpoint =
  | { readonly start: () => Promise<RunningProcess> }
  | { readonly url: URL; readonly headers: Readonly<Record<string, string>> }

/** How often a start is tried. A server that gave no answer in time is not tried again. */
const ATTEMPTS = 3
const RETRY_MS = [500, 5_000] as const
/** How long a program may take for a question that servers of older versions do not know. */
const PROBE_WITHIN_MS = 5_000
/** Pages of the list of tools. */
const MAX_PAGES = 10
const GOODBYE_WITHIN_MS = 1_000

/** A server lists and calls its tools through this, until it is closed or the server is gone. */
export class Connection {
  readonly #client: Client
  readonly #transport: Transport
  readonly #allowance: Allowance
  readonly #server: McpServer
  #tools: readonly Tool[] = []
  #isStale = false
  #failure: string | null = null
  /** Another attempt would fail like this one. */
  #isHopeless = false

  private constructor(server: McpServer, endpoint: Endpoint, isOld: boolean) {
    this.#server = server
    this.#allowance = new Allowance()
    this.#transport = transportTo(server, endpoint, this.#allowance)
    this.#client = new Client(
      { name: 'retrai', version: '1' },
      {
        versionNegotiation: isOld
          ? { mode: 'legacy' }
          : { mode: 'auto', probe: 'start' in endpoint ? { timeoutMs: PROBE_WITHIN_MS } : {} },
        listMaxPages: MAX_PAGES,
        // The schemas of a server are not trusted enough to compile them; the model reads whatever came.
        jsonSchemaValidator: UNCHECKED,
        listChanged: {
          tools: { autoRefresh: false, debounceMs: 0, onChanged: () => this.#noteChange() },
        },
      },
    )
    this.#client.onclose = () => {
      this.#failure ??= 'The connection was closed.'
    }
  }

  /** Connects to a server and lists its tools. The error says why that is not possible, for people. */
  static async open(
    server: McpServer,
    endpoint: Endpoint,
    signal: AbortSignal,
  ): Promise<Result<Connection, string>> {
    const backoff = new Backoff(RETRY_MS)
    for (;;) {
      // A program of an older version may end at the first question, which it does not know.
      const connection = new Connection(server, endpoint, backoff.failures > 0)
      const opened = await connection.#open(signal)
      if (opened.isOk()) return ok(connection)
      await connection.close()
      const isOver = opened.error.isFinal || backoff.failures + 1 >= ATTEMPTS
      if (isOver || !(await backoff.wait(signal))) return err(opened.error.message)
    }
  }

  /** How the server names itself, and the version of the protocol. */
  get identity(): Pick<McpListing, 'server_name' | 'server_version' | 'protocol_version'> {
    const { name, version } = this.#client.getServerVersion() ?? {}
    const protocol = this.#client.getNegotiatedProtocolVersion()
    return {
      ...(name === undefined ? {} : { server_name: shown(name) }),
      ...(version === undefined ? {} : { server_version: shown(version) }),
      ...(protocol === undefined ? {} : { protocol_version: shown(protocol) }),
    }
  }

  /** As it listed them last. */
  get tools(): readonly Tool[] {
    return this.#tools
  }

  /** Whether the server reports that its list has changed. */
  get isStale(): boolean {
    return this.#isStale
  }

  /** Why the server is gone; null if it is there. */
  get failure(): string | null {
    return this.#failure === null ? null : this.#why(this.#failure)
  }

  /** Lists the tools again. A server that cannot do that counts as gone. */
  async list(signal: AbortSignal): Promise<void> {
    this.#isStale = false
    this.#allowance.renew()
    try {
      const timeout = this.#server.start_timeout_s * 1000
      const hasTools = this.#client.getServerCapabilities()?.tools !== undefined
      const options = { signal, timeout, cacheMode: 'refresh' } as const
      this.#tools = hasTools ? (await this.#client.listTools(undefined, options)).tools : []
    } catch (cause) {
      this.#failure ??= shown(messageOf(cause))
      this.#isHopeless = isFinal(cause)
    }
  }

  /** Calls a tool. Never rejects. */
  async call(
    tool: string,
    args: Readonly<Record<string, unknown>>,
    { signal, imageTypes }: Pick<ToolContext, 'signal' | 'imageTypes'>,
  ): Promise<ToolOutput> {
    if (this.#failure !== null) return notCalled(this.#server.name, this.#why(this.#failure))
    this.#allowance.renew()
    const timeout = this.#server.call_timeout_s * 1000
    let result: CallToolResult
    try {
      const asked = { name: tool, arguments: args }
      result = (await this.#client.callTool(asked, { signal, timeout })) as CallToolResult
    } catch (cause) {
      return this.#failed(cause, signal)
    }
    return outputOf(result, imageTypes)
  }

  /** Says goodbye, and ends a program. Never rejects. */
  async close(): Promise<void> {
    const transport = this.#transport
    if (transport instanceof StreamableHTTPClientTransport) {
      await within(
        GOODBYE_WITHIN_MS,
        transport.terminateSession().catch(() => {}),
        () => {},
      )
    }
    await this.#client.close().catch(() => {})
    // The client closes a transport only if it has connected it.
    await transport.close().catch(() => {})
  }

  async #open(signal: AbortSignal): Promise<Result<void, Refusal>> {
    const timeout = this.#server.start_timeout_s * 1000
    try {
      await this.#client.connect(this.#transport, { signal, timeout })
    } catch (cause) {
      const why = explained(cause, timeout)
      return err({
        message: isTimeout(cause) && !this.#isStopped ? why : this.#why(why),
        isFinal: isFinal(cause),
      })
    }
    await this.list(signal)
    if (this.#failure === null) return ok()
    return err({ message: this.#why(this.#failure), isFinal: this.#isHopeless })
  }

  /** Whether this end has stopped the program for what it sent. */
  get #isStopped(): boolean {
    return this.#transport instanceof StdioTransport && this.#transport.isStopped
  }

  #noteChange(): void {
    this.#isStale = true
  }

  /** What a program has printed says more than that its connection was closed. */
  #why(otherwise: string): string {
    const transport = this.#transport
    const failure = transport instanceof StdioTransport ? transport.failure : null
    return shown(failure ?? otherwise)
  }

  #failed(cause: unknown, signal: AbortSignal): ToolOutput {
    if (signal.aborted) {
      return { output: 'Cancelled with the run.', exitCode: null, outcome: 'aborted' }
    }
    const { name } = this.#server
    // If a server no longer knows the session, a new connection is needed.
    if (cause instanceof SdkHttpError && cause.status === 404)
      this.#failure ??= 'It ended the session.'
    const failed = failedCall(cause, this.#server)
    if (failed !== null) return failed
    this.#failure ??= shown(messageOf(cause))
    const output = `The MCP server ${name} was lost during the call: ${this.#why(this.#failure)} ${NOT_KNOWN}`
    return { output, exitCode: null, outcome: 'unknown' }
  }
}

const UNCHECKED: NonNullable<ClientOptions['jsonSchemaValidator']> = {
  getValidator<T>(): JsonSchemaValidator<T> {
    return (value) => ({ valid: true, data: value as T, errorMessage: undefined })
  },
}

type Refusal = { readonly message: string; readonly isFinal: boolean }

function transportTo(server: McpServer, endpoint: Endpoint, allowance: Allowance): Transport {
  if ('start' in endpoint) return new StdioTransport(endpoint.start, allowance)
  return new StreamableHTTPClientTransport(endpoint.url, {
    fetch: guardedFetch(server, allowance),
    requestInit: { headers: endpoint.headers },
  })
}
