import * as z from 'zod'
import { Json, Sha256 } from './fields.ts'
import { type McpServer, McpServerName } from './mcp-servers.ts'

/** The name of a tool of an MCP server, for models, begins with this: `mcp__server__tool`. */
export const MCP_PREFIX = 'mcp__'

const names = z.array(z.string()).readonly()

/**
 * The tools of a server as it has listed them, or why there are none. All texts come from the server and may be false.
 */
export const McpListing = z
  .strictObject({
    server: McpServerName,
    transport: z.enum(['stdio', 'http']),
    /** As the server names itself. */
    server_name: z.string().exactOptional(),
    server_version: z.string().exactOptional(),
    protocol_version: z.string().exactOptional(),
    tools: z
      .array(
        z
          .strictObject({
            /** For models. */
            name: z.string(),
            /** For the server. */
            tool: z.string(),
            description: z.string(),
            /** A JSON Schema of an object. */
            input_schema: z.record(z.string(), Json),
            /** Whether it counts as a tool that only reads. */
            read_only: z.boolean(),
            /** The hash of the RFC 8785 form of `tool`, `description`, `input_schema` and `read_only`. */
            sha256: Sha256,
          })
          .readonly(),
      )
      .readonly(),
    /** Tools that models do not get. */
    left_out: z
      .array(z.strictObject({ tool: z.string(), reason: z.string() }).readonly())
      .readonly()
      .exactOptional(),
    /** Why the server cannot be used. */
    problem: z.string().exactOptional(),
  })
  .readonly()
export type McpListing = z.infer<typeof McpListing>

/** A listing, compared with the one before in its run. */
export const McpToolsListed = z
  .strictObject({
    ...McpListing.unwrap().shape,
    /** Names of tools, for models. Left out if nothing has changed. */
    changes: z
      .strictObject({ added: names, removed: names, changed: names })
      .readonly()
      .exactOptional(),
    /** Why the run ends; left out if it continues. */
    stops: z.string().exactOptional(),
  })
  .readonly()
export type McpToolsListed = z.infer<typeof McpToolsListed>

type KnownTool = Pick<McpListing['tools'][number], 'name' | 'sha256' | 'read_only'>

/** What a run knows of its MCP servers. */
export type McpState = {
  readonly listings: readonly { readonly server: string; readonly tools: readonly KnownTool[] }[]
  /** Why the run must end; null if it may continue. */
  readonly stop: string | null
}

const NOTHING: McpState = { listings: [], stop: null }

/** Compares a listing with what its run knows, and decides whether the run may continue. */
export function compareListing(
  listing: McpListing,
  known: McpState | undefined,
  servers: readonly McpServer[],
): McpToolsListed {
  const { server, problem, tools } = listing
  const { required = true, on_change = 'stop' } = servers.find(({ name }) => name === server) ?? {}
  if (problem !== undefined) {
    const stops = `The run needs the MCP server ${server}, and it cannot be used: ${problem}`
    return required ? { ...listing, stops } : listing
  }
  const before = known?.listings.find((one) => one.server === server)
  if (before === undefined) return listing
  const changes = difference(before.tools, tools)
  if (Object.values(changes).every((of) => of.length === 0)) return listing
  if (on_change === 'record') return { ...listing, changes }
  const stops =
    `The MCP server ${server} has changed its tools since the run began (${changesOf(changes)}), so the run ends. ` +
    'Look at what changed, and start another run if you trust it.'
  return { ...listing, changes, stops }
}

type Changes = NonNullable<McpToolsListed['changes']>

function difference(before: readonly KnownTool[], after: readonly KnownTool[]): Changes {
  const hashes = new Map(before.map(({ name, sha256: hash }) => [name, hash]))
  const now = new Set(after.map(({ name }) => name))
  return {
    added: after.filter(({ name }) => !hashes.has(name)).map(({ name }) => name),
    removed: before.filter(({ name }) => !now.has(name)).map(({ name }) => name),
    changed: after
      .filter(({ name, sha256: hash }) => hashes.has(name) && hashes.get(name) !== hash)
      .map(({ name }) => name),
  }
}

/** Changes as a part of a sentence. */
const changesOf = (changes: Changes): string =>
  Object.entries(changes)
    .filter(([, of]) => of.length > 0)
    .map(([how, of]) => `${how}: ${of.join(', ')}`)
    .join('; ')

/** After a listing. One that ends its run changes nothing that is known. */
export function addListing(state: McpState = NOTHING, listed: McpToolsListed): McpState {
  if (listed.stops !== undefined) return { ...state, stop: listed.stops }
  if (listed.problem !== undefined) return state
  const { server } = listed
  const tools = listed.tools.map(({ name, sha256, read_only }) => ({ name, sha256, read_only }))
  const others = state.listings.filter((one) => one.server !== server)
  return { ...state, listings: [...others, { server, tools }] }
}

/** Whether a call changes nothing: by our own tools, or by a mark of a server whose marks are trusted. */
export const onlyReads = (
  tool: string,
  own: ReadonlySet<string>,
  mcp: McpState | undefined,
): boolean =>
  own.has(tool) ||
  (mcp?.listings.some(({ tools }) => tools.some((one) => one.name === tool && one.read_only)) ??
    false)

/** A tool of an MCP server as the model gets it. `parameters` is a JSON Schema of an object. */
export type OfferedTool = {
  readonly server: string
  readonly name: string
  readonly description: string
  readonly parameters: Readonly<Record<string, unknown>>
}

/** The estimated tokens of the tools in a request: about four characters a token. */
export const tokensOfTools = (tools: readonly object[]): number =>
  tools.length === 0 ? 0 : Math.ceil(JSON.stringify(tools).length / 4)

/** The tools for the model after a listing, and what it reads about it; null if nothing. */
export function offerTools(
  before: readonly OfferedTool[],
  { server, tools, problem, changes, stops }: McpToolsListed,
): { readonly tools: readonly OfferedTool[]; readonly note: string | null } {
  if (stops !== undefined) return { tools: before, note: null }
  if (problem !== undefined) {
    return { tools: before, note: `The MCP server ${server} cannot be used now: ${problem}` }
  }
  const others = before.filter((tool) => tool.server !== server)
  const offered = tools.map(({ name, description, input_schema }) => {
    return { server, name, description, parameters: input_schema }
  })
  const note =
    changes === undefined
      ? null
      : `The MCP server ${server} has changed its tools: ${changesOf(changes)}.`
  return { tools: [...others, ...offered], note }
}
