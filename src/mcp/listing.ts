import type { Tool } from '@modelcontextprotocol/client'
import * as z from 'zod'
import { Json } from '../domain/fields.ts'
import type { McpServer } from '../domain/mcp-servers.ts'
import { MCP_PREFIX, type McpListing } from '../domain/mcp-tools.ts'
import { sha256 } from '../lib/sha256.ts'
import { canonicalText } from '../log/commitment.ts'
import { maskPayload } from '../masking/mask.ts'
import { processMask } from '../masking/process-mask.ts'

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
export function listingOf(
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
