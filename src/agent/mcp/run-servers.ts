import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname } from 'node:path'
import { ok } from 'neverthrow'
import type { McpServer } from '../../domain/mcp-servers.ts'
import { compareListing, type McpListing } from '../../domain/mcp-tools.ts'
import { present } from '../../domain/present.ts'
import type { Notice } from '../../domain/records.ts'
import type { RunState } from '../../domain/state.ts'
import { isWithin } from '../../runner/isolation/sandbox.ts'
import type { StartProcess } from '../../runner/start-process.ts'
import { projectOf } from '../project-folder.ts'
import type { DefinedTool, ToolContext } from '../tools/tool.ts'
import type { Connection, Endpoint } from './connection.ts'
import { listingOf, MAX_TOOLS } from './listing.ts'
import { filledIn, isSameServer, type McpConfiguration } from './servers-file.ts'
import { notCalled } from './tool-output.ts'

type Deps = {
  readonly configuration: McpConfiguration
  readonly startProcess: StartProcess
}

/** The MCP servers of all runs that this process works on. No two runs share one. */
export class McpRuns {
  readonly #deps: Deps
  readonly #runs = new Map<string, RunServers>()

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** The servers of a run, while somebody works on it. They are started when they are needed. */
  open(runId: string): RunServers {
    const servers = new RunServers(this.#deps, () => this.#runs.delete(runId))
    this.#runs.set(runId, servers)
    return servers
  }

  /** A tool by its name for models; undefined if no server of the run has it. */
  tool(runId: string | undefined, name: string): DefinedTool | undefined {
    return runId === undefined ? undefined : this.#runs.get(runId)?.tool(name)
  }
}

/** A server of a run, and what is known of it. */
type Slot = {
  readonly server: McpServer
  connection: Connection | null
  /** As it was recorded, or is to be. */
  listing: McpListing | null
  /** Whether `listing` is to be compared with what the run knows. */
  isNew: boolean
  /** It was lost and started again, and has answered no call since. */
  isSecondTry: boolean
  /** Why it is not used any more. */
  problem: string | null
}

/** What a run loop needs of the servers of its run. */
export type McpSession = AsyncDisposable & Pick<RunServers, 'update' | 'takeNotices'>

class RunServers implements AsyncDisposable {
  readonly #deps: Deps
  readonly #onClosed: () => void
  readonly #stop = new AbortController()
  #slots: readonly Slot[] | null = null
  #notices: Notice[] = []

  constructor(deps: Deps, onClosed: () => void) {
    this.#deps = deps
    this.#onClosed = onClosed
  }

  /**
   * Starts the servers that are needed and do not run, and lists the tools of those that report a change. Resolves to
   * what the run must record before it continues. Never rejects.
   */
  async update(run: RunState, signal: AbortSignal): Promise<readonly McpListing[]> {
    this.#slots ??= (run.config.mcp_servers ?? []).map((server) => ({
      ...{ server, connection: null, listing: null, isNew: false },
      ...{ isSecondTry: false, problem: null },
    }))
    await Promise.all(this.#slots.map((slot) => this.#refresh(slot, run, signal)))
    if (signal.aborted) return []
    return this.#slots.flatMap((slot) => this.#news(slot, run))
  }

  /** The connections of the programs that were reported since the last call of this. */
  takeNotices(): readonly Notice[] {
    return this.#notices.splice(0)
  }

  tool(name: string): DefinedTool | undefined {
    for (const slot of this.#slots ?? []) {
      const found = slot.listing?.tools.find((one) => one.name === name)
      if (found === undefined) continue
      const { tool, description, input_schema: parameters, read_only: readOnly } = found
      return {
        spec: { name, description, parameters },
        readOnly,
        // Nobody knows what it does with files or commands, so rules name the tool or its server.
        touches: () => ({ mcpServer: slot.server.name }),
        prepare: (args) => ok((context) => call(slot, tool, args, context)),
      }
    }
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#onClosed()
    await Promise.all((this.#slots ?? []).map(({ connection }) => connection?.close()))
    this.#stop.abort()
  }

  async #refresh(slot: Slot, run: RunState, signal: AbortSignal): Promise<void> {
    if (slot.problem !== null) return
    if (slot.connection?.isStale) {
      await slot.connection.list(signal)
      slot.isNew = true
    }
    const lost = slot.connection?.failure ?? null
    if (slot.connection !== null && lost === null) return
    await slot.connection?.close()
    slot.connection = null
    slot.isNew = true
    if (lost !== null && slot.isSecondTry) {
      slot.problem = `It was lost again after it had been started again. ${lost}`
      return
    }
    slot.isSecondTry = lost !== null
    const endpoint = this.#endpointOf(slot.server, run)
    if (typeof endpoint === 'string') {
      slot.problem = endpoint
      return
    }
    // The SDK is loaded when a run needs it: most servers have no run with MCP servers.
    const { Connection } = await import('./connection.ts')
    const opened = await Connection.open(slot.server, endpoint, signal)
    if (opened.isOk()) slot.connection = opened.value
    else if (!signal.aborted) {
      slot.problem = `${opened.error}${hiddenFrom(slot.server, opened.error, run)}`
    }
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
    const { tools, left_out } = listingOf(server, connection.tools, MAX_TOOLS - taken)
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
    const { configuration, startProcess } = this.#deps
    const { name, source, command, args = [], url = '', network } = server
    const known = configuration.servers.get(name)
    if (source === 'configuration') {
      if (known === undefined) return 'RETRAI_MCP_SERVERS does not name it any more.'
      if (!isSameServer(known.recorded, server)) {
        return 'RETRAI_MCP_SERVERS defines it in another way than when the run was created. Start another run.'
      }
    }
    const own = source === 'configuration' ? known : undefined
    const fill = (text: string): string =>
      own === undefined ? text : filledIn(text, configuration)
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
          ...present({ atLeast: policy?.at_least, atMost: policy?.at_most }),
          onNotice: (notice) => this.#notices.push(notice),
          signal: this.#stop.signal,
        }),
    }
  }
}

/** The levels at which a program sees only the project and what the server shows it. */
const HIDES: ReadonlySet<string> = new Set(['namespaces', 'landlock'])
/** A path that a program names in an error, in quotes or not. */
const PATH = /(?<![\w.~-])\/[^\s'"`:;,()[\]]+/g

/** Which files of a program that did not start are there and hidden from it, as a sentence; empty if none is known. */
export function hiddenFrom(
  { command = '', args = [] }: Pick<McpServer, 'command' | 'args'>,
  problem: string,
  { config, isolation }: Pick<RunState, 'config' | 'isolation'>,
): string {
  if (command === '' || isolation === undefined || !HIDES.has(isolation.level)) return ''
  const shown = [config.cwd, ...isolation.visible.flatMap(pathOfRole)]
  const named = [command, ...args, problem].flatMap((text) => text.match(PATH) ?? [])
  const hidden = [...new Set(named)].filter(
    (path) => !shown.some((folder) => isWithin(folder, path)) && existsSync(path),
  )
  if (hidden.length === 0) return ''
  const [first = ''] = hidden
  const exist = hidden.length === 1 ? 'exists' : 'exist'
  return (
    ` ${hidden.join(', ')} ${exist}, but the isolation of commands (${isolation.level}) hides everything outside of ` +
    `the project and the tools. Add ${dirname(first)} to RETRAI_TOOL_PATHS and restart the server, or move the program into the project.`
  )
}

/** The path that a program sees by a role such as `tools:~/.nvm`. */
function pathOfRole(role: string): string[] {
  const [, path] = /^(?:system|tools):(.+)$/.exec(role) ?? []
  return path === undefined ? [] : [path.replace(/^~(?=\/|$)/, homedir())]
}

async function call(
  slot: Slot,
  tool: string,
  args: unknown,
  context: ToolContext,
): ReturnType<Connection['call']> {
  const { server, connection, problem } = slot
  if (connection === null) return notCalled(server.name, problem ?? '')
  const result = await connection.call(tool, args as Readonly<Record<string, unknown>>, context)
  if (connection.failure === null) slot.isSecondTry = false
  return result
}
