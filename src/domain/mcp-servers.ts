import * as z from 'zod'
import { NulFree } from './fields.ts'
import { Network } from './network.ts'

/** Without two underscores in sequence, so that the name of a tool shows its server. */
export const McpServerName = z
  .string()
  .max(24, 'must have at most 24 characters')
  .regex(
    /^[a-z0-9]+(?:[_-][a-z0-9]+)*$/,
    'must have lower-case letters and digits, with single - or _ between them',
  )

const OnChange = z.enum(['stop', 'record'])

const MAX_TIMEOUT_S = 3_600
const MAX_ARGS = 100
const MAX_TOOLS = 100
const timeout = z.number().positive().max(MAX_TIMEOUT_S)
const program = {
  command: NulFree.min(1, 'must not be empty').exactOptional(),
  args: z.array(NulFree).max(MAX_ARGS).readonly().exactOptional(),
}
const tools = z.array(z.string().min(1)).max(MAX_TOOLS).readonly()

/**
 * An MCP server of a run, without its secrets: `${NAME}` is the value of a variable that only the server knows. It has
 * either a command or a URL.
 */
export const McpServer = z
  .strictObject({
    name: McpServerName,
    /** Who defined it: the configuration of the server, or the request that started the run. */
    source: z.enum(['configuration', 'request']),
    /** A program that is started for the run alone, and isolated like its commands. */
    ...program,
    /** What the program reaches, if not what the commands of the run reach. */
    network: Network.exactOptional(),
    url: z.string().min(1, 'must not be empty').exactOptional(),
    /** The host may have an address that is not on the public Internet. */
    private_address: z.literal(true).exactOptional(),
    /** Whether the run fails if the server cannot be used. */
    required: z.boolean(),
    /** If the server changes its tools after the run has begun: the run ends, or continues with the new tools. */
    on_change: OnChange,
    /** Whether tools that the server marks as reading count as such. Otherwise the mark means nothing. */
    trust_hints: z.boolean(),
    /** The tools that the model may call; all if it is left out. */
    tools: tools.exactOptional(),
    start_timeout_s: timeout,
    call_timeout_s: timeout,
  })
  .readonly()
export type McpServer = z.infer<typeof McpServer>

/** What a server has that says nothing about it. */
export const MCP_DEFAULTS = {
  required: true,
  on_change: 'stop',
  trust_hints: false,
  start_timeout_s: 60,
  call_timeout_s: 120,
} as const satisfies Partial<McpServer>

/** What a run asks for: a server of the configuration by its name, perhaps stricter, or a server of its own. */
export const McpRequest = z.union(
  [
    McpServerName,
    z
      .strictObject({
        name: McpServerName,
        ...program,
        url: z
          .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
          .exactOptional(),
        required: z.boolean().exactOptional(),
        on_change: OnChange.exactOptional(),
        tools: tools.exactOptional(),
        start_timeout_s: timeout.exactOptional(),
        call_timeout_s: timeout.exactOptional(),
      })
      .readonly(),
  ],
  'must be the name of a server of the configuration, or {"name": …} with a command or a url',
)
export type McpRequest = z.infer<typeof McpRequest>

/** The most servers of a run. */
export const MAX_MCP_SERVERS = 16

type Form = Pick<McpServer, 'command' | 'args' | 'url'>

/** Why a definition cannot be used, as a part of a sentence; null if it can. */
export function formProblem({ command, args, url }: Form): string | null {
  if (command === undefined && url === undefined) return 'must have a command or a url'
  if (command !== undefined && url !== undefined) return 'must have a command or a url, not both'
  return command === undefined && args !== undefined ? 'has args, which belong to a command' : null
}
