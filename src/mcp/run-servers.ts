import type { Tool } from '@modelcontextprotocol/client'
import * as z from 'zod'
import { Json } from '../domain/fields.ts'
import type { McpServer } from '../domain/mcp-servers.ts'
import { compareListing, MCP_PREFIX, type McpListing } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import type { RunState } from '../domain/state.ts'
import { sha256 } from '../lib/sha256.ts'
import { canonicalText } from '../log/commitment.ts'
import { maskPayload } from '../masking/mask.ts'
import { processMask } from '../masking/process-mask.ts'
import type { ToolSpec } from '../models/model.ts'
import type { Command } from '../runner/command.ts'
import type { StartProcess } from '../runner/run-command.ts'
import { projectOf } from '../sandbox/project-folder.ts'
import { type McpCall, type McpOutput, notCalled } from './answers.ts'
import { Connection } from './connection.ts'
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
      server,
      connection: null,
      listing: null,
      isNew: false,
      problem: null,
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
      server: server.name,
      transport,
      ...connection.identity,
      tools,
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
          file: fill(command),
          args: args.map(fill),
          env: filled(own?.env),
          cwd: config.cwd,
          project: config.cwd,
          run: runId,
          folder: projectOf(run),
          network: network ?? config.network ?? 'none',
          ...present({ atLeast: policy?.at_least }),
          onNotice,
          signal: this.#stop.signal,
        }),
    }
  }
}

type ListedTool = McpListing['tools'][number]
type LeftOut = NonNullable<McpListing['left_out']>[number]

/** The longest name that all providers accept. */
const MAX_NAME = 64
/** The most bytes of the description and schema of one tool, and of all tools of a server: every request holds them. */
const TOOL_BYTES = 32 * 1024
const ALL_BYTES = 256 * 1024
/** How deep a schema may be. */
const MAX_DEPTH = 32
/** Tools that are left out and recorded one by one. */
const MAX_LEFT_OUT = 20
const MAX_SHOWN = 100

/** The most tools of MCP servers in one run: some providers accept 128 in all. */
const MAX_TOOLS = 100

/**
 * What a run records of the tools of a server. Secrets are masked before anything is hashed or measured.
 * @param others how many tools of other servers the run has
 */
function listingOf(
  server: McpServer,
  listed: readonly Tool[],
  others: number,
): Required<Pick<McpListing, 'tools' | 'left_out'>> {
  const tools: ListedTool[] = []
  const left_out: LeftOut[] = []
  let bytes = 0
  const wanted = listed.filter(({ name }) => server.tools?.includes(name) ?? true)
  for (const given of wanted.sort(byName)) {
    const made = toolOf(server, given)
    const reason =
      typeof made === 'string'
        ? made
        : tools.some(({ name }) => name === made.name)
          ? 'another tool has its name'
          : tools.length + others >= MAX_TOOLS
            ? `a run has at most ${MAX_TOOLS} tools of MCP servers. Choose some with "tools"`
            : bytes + sizeOf(made) > ALL_BYTES
              ? `the tools of the server have more than ${ALL_BYTES / 1024} KiB. Choose some with "tools"`
              : null
    if (typeof made === 'string' || reason !== null) {
      const tool = masked(given.name).slice(0, MAX_SHOWN).toWellFormed()
      left_out.push({ tool, reason: reason ?? '' })
    } else {
      bytes += sizeOf(made)
      tools.push(made)
    }
  }
  const more = left_out.length - MAX_LEFT_OUT
  const rest = { tool: `${more} more`, reason: 'they are left out for similar reasons' }
  return { tools, left_out: more > 0 ? [...left_out.slice(0, MAX_LEFT_OUT), rest] : left_out }
}

const byName = (a: Tool, b: Tool): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

const masked = (text: string): string => processMask.text(text.toWellFormed())

const sizeOf = ({ description, input_schema }: ListedTool): number =>
  Buffer.byteLength(description) + Buffer.byteLength(JSON.stringify(input_schema))

const Schema = z.record(z.string(), Json)

/** A tool as it is recorded, or why models do not get it. */
function toolOf(
  { name: server, trust_hints }: McpServer,
  { name: tool, description: words = '', inputSchema, annotations }: Tool,
): ListedTool | string {
  if (depthOf(inputSchema) > MAX_DEPTH) return `its schema is more than ${MAX_DEPTH} levels deep`
  const schema = Schema.safeParse(inputSchema)
  if (!schema.success) return 'its schema is not JSON'
  const description = masked(words)
  const { input_schema } = maskPayload({ input_schema: schema.data }, masked)
  const read_only = trust_hints && annotations?.readOnlyHint === true
  const content = { tool: masked(tool), description, input_schema, read_only }
  const hash = sha256(canonicalText(content))
  const listed = { name: nameOf(server, tool), ...content, sha256: hash }
  if (sizeOf(listed) <= TOOL_BYTES) return listed
  return `its description and schema have more than ${TOOL_BYTES / 1024} KiB`
}

/** A name that all providers accept. */
function nameOf(server: string, tool: string): string {
  const plain = tool.replace(/[^a-zA-Z0-9_-]/g, '_')
  const name = `${MCP_PREFIX}${server}__${plain}`
  if (plain === tool && name.length <= MAX_NAME) return name
  const suffix = `_${sha256(tool.toWellFormed()).slice(0, 8)}`
  return `${name.slice(0, MAX_NAME - suffix.length)}${suffix}`
}

function depthOf(value: unknown, above = 0): number {
  if (typeof value !== 'object' || value === null || above > MAX_DEPTH) return above
  return Math.max(above + 1, ...Object.values(value).map((item) => depthOf(item, above + 1)))
}
