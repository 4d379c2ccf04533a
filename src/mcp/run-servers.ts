import type { McpServer } from '../domain/mcp-servers.ts'
import { compareListing, type McpListing } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import type { RunState } from '../domain/state.ts'
import type { ToolSpec } from '../models/model.ts'
import type { Command } from '../runner/command.ts'
import type { StartProcess } from '../runner/run-command.ts'
import { projectOf } from '../sandbox/project-folder.ts'
import { type McpCall, type McpOutput, notCalled } from './answers.ts'
import { Connection } from './connection.ts'
import { listingOf } from './listing.ts'
import { filledIn, isSameServer, type McpConfiguration } from './servers.ts'
import type { Endpoint } from './transports.ts'

type Deps = {
  readonly configuration: McpConfiguration
  readonly startProcess: StartProcess
  /** Called with the connections of the programs. */
  readonly onNotice: NonNullable<Command['onNotice']>
}

/** A server of a run, and what is known of it. */
type Slot = {
  readonly server: McpServer
  connection: Connection | null
  /** As it was recorded, or is to be. */
  listing: McpListing | null
  /** Whether `listing` is to be compared with what the run knows. */
  isNew: boolean
  /** Why it is not used any more. */
  problem: string | null
}

/** A tool of a server, as models know it. */
export type McpTool = {
  readonly spec: ToolSpec
  readonly readOnly: boolean
  readonly server: string
  /** Never rejects. */
  readonly call: (args: unknown, how: McpCall) => Promise<McpOutput>
}

/** What a run loop needs of the servers of its run. */
export type McpSession = AsyncDisposable & Pick<RunServers, 'update' | 'tool'>

/** The MCP servers of one run, while this process works on it. They are started when they are needed. No two runs share one. */
export class RunServers implements AsyncDisposable {
  readonly #deps: Deps
  readonly #stop = new AbortController()
  #slots: readonly Slot[] | null = null

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /**
   * Starts the servers that are needed and do not run, and lists the tools of those that report a change. Resolves to
   * what the run must record before it continues. Never rejects.
   */
  async update(run: RunState, signal: AbortSignal): Promise<readonly McpListing[]> {
    this.#slots ??= (run.config.mcp_servers ?? []).map((server) => ({
      ...{ server, connection: null, listing: null, isNew: false, problem: null },
    }))
    await Promise.all(this.#slots.map((slot) => this.#refresh(slot, run, signal)))
    if (signal.aborted) return []
    return this.#slots.flatMap((slot) => this.#news(slot, run))
  }

  /** A tool by its name for models; undefined if no server of the run has it. */
  readonly tool = (name: string): McpTool | undefined => {
    for (const slot of this.#slots ?? []) {
      const found = slot.listing?.tools.find((one) => one.name === name)
      if (found === undefined) continue
      const { tool, description, input_schema: parameters, read_only: readOnly } = found
      return {
        spec: { name, description, parameters },
        readOnly,
        server: slot.server.name,
        call: async (args, how) =>
          slot.connection === null
            ? notCalled(slot.server.name, slot.problem ?? '')
            : slot.connection.call(tool, args, how),
      }
    }
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all((this.#slots ?? []).map(({ connection }) => connection?.close()))
    this.#stop.abort()
  }

  async #refresh(slot: Slot, run: RunState, signal: AbortSignal): Promise<void> {
    if (slot.problem !== null) return
    if (slot.connection?.isStale) {
      await slot.connection.list(signal)
      slot.isNew = true
    }
    if (slot.connection !== null && slot.connection.failure === null) return
    await slot.connection?.close()
    slot.connection = null
    slot.isNew = true
    const endpoint = this.#endpointOf(slot.server, run)
    if (typeof endpoint === 'string') {
      slot.problem = endpoint
      return
    }
    const opened = await Connection.open(slot.server, endpoint, signal)
    if (opened.isOk()) slot.connection = opened.value
    else if (!signal.aborted) slot.problem = opened.error
  }

  /** What the run does not know yet of a server. */
  #news(slot: Slot, run: RunState): readonly McpListing[] {
    if (!slot.isNew) return []
    slot.isNew = false
    const { server, connection, problem } = slot
    const transport = server.url === undefined ? 'stdio' : 'http'
    if (connection === null) {
      return [{ server: server.name, transport, tools: [], problem: problem ?? '' }]
    }
    const others = (this.#slots ?? []).filter((one) => one !== slot)
    const taken = others.reduce((sum, { listing }) => sum + (listing?.tools.length ?? 0), 0)
    const { tools, left_out } = listingOf(server, connection.tools, taken)
    const listing: McpListing = {
      ...{ server: server.name, transport, ...connection.identity, tools },
      ...(left_out.length === 0 ? {} : { left_out }),
    }
    slot.listing = listing
    const isKnown = run.mcp?.listings.some((one) => one.server === server.name) ?? false
    const { changes } = compareListing(listing, run.mcp, run.config.mcp_servers ?? [])
    return isKnown && changes === undefined ? [] : [listing]
  }

  /** How a server is reached; a text says why it is not. */
  #endpointOf(server: McpServer, run: RunState): Endpoint | string {
    const { configuration, startProcess, onNotice } = this.#deps
    const { name, source, command, args = [], url = '', network } = server
    const own = source === 'configuration' ? configuration.servers.get(name) : null
    if (own === undefined) return 'RETRAI_MCP_SERVERS does not name it any more.'
    if (own !== null && !isSameServer(own.recorded, server)) {
      return 'RETRAI_MCP_SERVERS defines it in another way than when the run was created. Start another run.'
    }
    const fill = (text: string): string => (own === null ? text : filledIn(text, configuration))
    const filled = (texts: Readonly<Record<string, string>> = {}): Record<string, string> =>
      Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, fill(text)]))
    if (command === undefined) {
      const parsed = URL.parse(fill(url))
      return parsed === null
        ? 'Its URL is not valid.'
        : { url: parsed, headers: filled(own?.headers) }
    }
    const { config, isolation: policy, runId } = run
    return {
      start: () =>
        startProcess({
          ...{ file: fill(command), args: args.map(fill), env: filled(own?.env) },
          ...{ cwd: config.cwd, project: config.cwd, run: runId, folder: projectOf(run) },
          network: network ?? config.network ?? 'none',
          ...present({ atLeast: policy?.at_least }),
          onNotice,
          signal: this.#stop.signal,
        }),
    }
  }
}
