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
import type { McpServer } from '../domain/mcp-servers.ts'
import type { McpListing } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import { sleep } from '../lib/backoff.ts'
import { messageOf } from '../lib/message-of.ts'
import { within } from '../lib/promises.ts'
import {
  explained,
  failedCall,
  isFinal,
  type McpCall,
  type McpOutput,
  NOT_KNOWN,
  notCalled,
  outputOf,
  shown,
} from './answers.ts'
import { type Endpoint, StdioTransport, transportTo } from './transports.ts'

/** How long a start that has failed is waited for. */
const RETRY_MS = 500
/** How long a program may take, at most, for a question that servers of older versions do not know. */
const PROBE_WITHIN_MS = 5_000
/** Pages of the list of tools. */
const MAX_PAGES = 10
const GOODBYE_WITHIN_MS = 1_000
/** The most bytes that a server may send for one request of ours, and between two. */
const ALLOWED_BYTES = 32 * 1024 * 1024

/** A server lists and calls its tools through this, until it is closed or the server is gone. */
export class Connection {
  readonly #client: Client
  readonly #transport: Transport
  readonly #server: McpServer
  /** As the server listed them last. */
  tools: readonly Tool[] = []
  /** Whether the server reports that its list has changed. */
  isStale = false
  #failure: string | null = null
  /** What the server may still send before something is asked of it again. */
  #left = ALLOWED_BYTES

  private constructor(server: McpServer, endpoint: Endpoint, isOld: boolean) {
    this.#server = server
    this.#transport = transportTo(server, endpoint, (bytes) => {
      this.#left -= bytes
      return this.#left >= 0
    })
    const timeoutMs = Math.min(PROBE_WITHIN_MS, server.start_timeout_s * 1000)
    this.#client = new Client(
      { name: 'retrai', version: '1' },
      {
        versionNegotiation: isOld
          ? { mode: 'legacy' }
          : { mode: 'auto', probe: 'start' in endpoint ? { timeoutMs } : {} },
        listMaxPages: MAX_PAGES,
        // The schemas of a server are not trusted enough to compile them; the model reads whatever came.
        jsonSchemaValidator: UNCHECKED,
        listChanged: {
          tools: { autoRefresh: false, debounceMs: 0, onChanged: () => (this.isStale = true) },
        },
      },
    )
    this.#client.onclose = () => {
      this.#failure ??= 'The connection was closed.'
    }
  }

  /**
   * Connects to a server and lists its tools, in two attempts: a program of an older version may end at the first question,
   * which it does not know. The error says why that is not possible, for people.
   */
  static async open(
    server: McpServer,
    endpoint: Endpoint,
    signal: AbortSignal,
    isOld = false,
  ): Promise<Result<Connection, string>> {
    const connection = new Connection(server, endpoint, isOld)
    const timeout = server.start_timeout_s * 1000
    try {
      await connection.#client.connect(connection.#transport, { signal, timeout })
      await connection.#list(signal)
      return ok(connection)
    } catch (cause) {
      const why = connection.#why(explained(cause, timeout))
      await connection.close()
      if (isOld || isFinal(cause) || !(await sleep(RETRY_MS, signal))) return err(why)
      return Connection.open(server, endpoint, signal, true)
    }
  }

  /** How the server names itself, and the version of the protocol. */
  get identity(): Pick<McpListing, 'server_name' | 'server_version' | 'protocol_version'> {
    const { name, version } = this.#client.getServerVersion() ?? {}
    const protocol = this.#client.getNegotiatedProtocolVersion()
    return present({
      server_name: name && shown(name),
      server_version: version && shown(version),
      protocol_version: protocol && shown(protocol),
    })
  }

  /** Why the server is gone; null if it is there. */
  get failure(): string | null {
    return this.#failure === null ? null : this.#why(this.#failure)
  }

  /** Lists the tools again. A server that cannot do that counts as gone. */
  async list(signal: AbortSignal): Promise<void> {
    try {
      await this.#list(signal)
    } catch (cause) {
      this.#failure ??= shown(messageOf(cause))
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    this.isStale = false
    this.#left = ALLOWED_BYTES
    if (this.#client.getServerCapabilities()?.tools === undefined) return
    const timeout = this.#server.start_timeout_s * 1000
    const options = { signal, timeout, cacheMode: 'refresh' } as const
    this.tools = (await this.#client.listTools(undefined, options)).tools
  }

  /** Calls a tool. Never rejects. */
  async call(tool: string, args: unknown, { signal, imageTypes }: McpCall): Promise<McpOutput> {
    if (this.#failure !== null) return notCalled(this.#server.name, this.#why(this.#failure))
    this.#left = ALLOWED_BYTES
    const timeout = this.#server.call_timeout_s * 1000
    const asked = { name: tool, arguments: args as Readonly<Record<string, unknown>> }
    return this.#client.callTool(asked, { signal, timeout }).then(
      (result) => outputOf(result as CallToolResult, imageTypes),
      (cause) => this.#failed(cause, signal),
    )
  }

  /** Says goodbye, and ends a program. Never rejects. */
  async close(): Promise<void> {
    const transport = this.#transport
    if (transport instanceof StreamableHTTPClientTransport) {
      const goodbye = transport.terminateSession().catch(() => {})
      await within(GOODBYE_WITHIN_MS, goodbye, () => {})
    }
    await this.#client.close().catch(() => {})
    // The client closes a transport only if it has connected it.
    await transport.close().catch(() => {})
  }

  /** What a program has printed says more than that its connection was closed. */
  #why(otherwise: string): string {
    const transport = this.#transport
    const failure = transport instanceof StdioTransport ? transport.failure : null
    return shown(failure ?? otherwise)
  }

  #failed(cause: unknown, signal: AbortSignal): McpOutput {
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
