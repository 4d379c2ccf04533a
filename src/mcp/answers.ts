import { isDeepStrictEqual } from 'node:util'
import {
  type CallToolResult,
  ProtocolError,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  type Tool,
} from '@modelcontextprotocol/client'
import * as z from 'zod'
import { Json } from '../domain/fields.ts'
import { maskPayload } from '../domain/mask/mask.ts'
import type { McpServer } from '../domain/mcp-servers.ts'
import { MCP_PREFIX, type McpListing } from '../domain/mcp-tools.ts'
import { present } from '../domain/present.ts'
import type { ImageType } from '../domain/records.ts'
import { stripTerminalCodes } from '../domain/texts.ts'
import { jsonOr } from '../lib/json.ts'
import { messageOf } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'
import { canonicalText } from '../log/commitment.ts'
import { processMask } from '../log/masking.ts'
import { imageIn, type ShownImage } from '../models/images.ts'

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

/** What a call came to, for the model. */
export type McpOutput = {
  readonly output: string
  /** 0 or 1; null if it is not known. */
  readonly exitCode: number | null
  readonly outcome: 'ok' | 'error' | 'timed_out' | 'aborted' | 'unknown'
  readonly image?: ShownImage
}

/** How a tool is called. */
export type McpCall = {
  readonly signal: AbortSignal
  /** The images that the model in use is shown; empty if it is shown none. */
  readonly imageTypes: () => Promise<readonly ImageType[]>
}

const failed = (output: string): McpOutput => ({ output, exitCode: 1, outcome: 'error' })

type Block = CallToolResult['content'][number]
/** A block as a text, and the image that is in it if the model in use can be shown it. */
type Part = { readonly text: string; readonly image?: ShownImage }

/**
 * The result of a call as the model gets it. A result holds one image, the first that the model can be shown. Everything
 * else that is not text is named with its type and size.
 */
export async function outputOf(
  { content, structuredContent, isError }: CallToolResult,
  imageTypes: McpCall['imageTypes'],
): Promise<McpOutput> {
  const types = content.some(hasBytes) ? await imageTypes() : []
  const parts = content.map((block) => partOf(block, types))
  const shown = parts.find(({ image }) => image !== undefined)
  const blocks = parts.map((part) =>
    part.image === undefined || part === shown ? part.text : withoutImage(part.text),
  )
  // Most servers send the structured content as a text, too, for older clients.
  const isSaid = blocks.some((text) => isDeepStrictEqual(jsonOr(text, text), structuredContent))
  const isNew = structuredContent !== undefined && !isSaid
  const output = [...blocks, ...(isNew ? [JSON.stringify(structuredContent)] : [])].join('\n')
  const image = present({ image: shown?.image })
  return isError === true
    ? { ...failed(output || 'The call failed, and the server gave no reason.'), ...image }
    : { output, exitCode: 0, outcome: 'ok', ...image }
}

const withoutImage = (text: string): string =>
  `${text.slice(0, -1)}. It is not shown: a result holds one image.]`

const hasBytes = ({ type }: Block): boolean => type === 'image' || type === 'resource'

function partOf(block: Block, types: readonly ImageType[]): Part {
  switch (block.type) {
    case 'text':
      return { text: block.text }
    case 'image':
    case 'audio':
      return bytesPart(block.type, block.mimeType, block.data, types)
    case 'resource_link': {
      const { uri, name, title, description = '', mimeType, size } = block
      const about = [mimeType, size === undefined ? undefined : `${size} bytes`]
      const link = [`link to ${uri}`, ...about].filter((one) => one !== undefined).join(', ')
      return { text: `[${link}] ${title ?? name}\n${description}`.trimEnd() }
    }
    case 'resource': {
      const { uri, mimeType = 'of no type' } = block.resource
      const what = `resource ${uri}`
      return 'text' in block.resource
        ? { text: `[${what}]\n${block.resource.text}` }
        : bytesPart(what, mimeType, block.resource.blob, types)
    }
  }
}

/** @param type as the server reports it; the bytes decide whether it is an image */
function bytesPart(what: string, type: string, base64: string, types: readonly ImageType[]): Part {
  const content = Buffer.from(base64, 'base64')
  const found = what === 'audio' ? null : imageIn(content, types)
  if (found === null) return { text: `[${what}, ${type}, ${content.length} bytes: not shown]` }
  const about = what === 'image' ? found.about : `${what}, ${found.about}`
  return 'image' in found
    ? { text: `[${about}]`, image: found.image }
    : { text: `[${about}. ${found.problem}]` }
}

/** The result of a call to a server that is not there. */
export const notCalled = (server: string, why: string): McpOutput =>
  failed(`The call was not made, because the MCP server ${server} is not available now: ${why}`)

/** Words of a server in a sentence of ours. */
const MAX_WORDS = 600

/** For the model, about a call that may have changed something. */
export const NOT_KNOWN = 'Whether the call took effect is not known. Look before you repeat it.'

/** The result of a call that failed; null if the server was lost, so that it is not known what the call did. */
export function failedCall(cause: unknown, { name, call_timeout_s }: McpServer): McpOutput | null {
  if (isTimeout(cause)) {
    const output = `The MCP server ${name} gave no answer within ${call_timeout_s} s, so the call was cancelled. ${NOT_KNOWN}`
    return { output, exitCode: null, outcome: 'timed_out' }
  }
  const isRefused =
    cause instanceof ProtocolError || (cause instanceof SdkHttpError && cause.status < 500)
  if (!isRefused && !(cause instanceof SdkHttpError) && !isInvalid(cause)) return null
  const answer = `The MCP server ${name} answered the call with an error: ${shown(messageOf(cause))}`
  const output = isRefused ? answer : `${answer}\n${NOT_KNOWN}`
  return { output, exitCode: 1, outcome: 'error' }
}

const isTimeout = (cause: unknown): boolean =>
  cause instanceof SdkError && cause.code === SdkErrorCode.RequestTimeout

const isInvalid = (cause: unknown): boolean =>
  cause instanceof SdkError &&
  [SdkErrorCode.InvalidResult, SdkErrorCode.UnsupportedResultType].includes(cause.code)

/** Whether another attempt would end the same way. */
export const isFinal = (cause: unknown): boolean =>
  isTimeout(cause) ||
  (cause instanceof SdkError && cause.code === SdkErrorCode.ListPaginationExceeded) ||
  (cause instanceof SdkHttpError && cause.status >= 400 && cause.status < 500) ||
  causes(cause).some((one) => one.name === 'PrivateAddress')

export function explained(cause: unknown, timeoutMs: number): string {
  if (isTimeout(cause)) return `It gave no answer in time (start_timeout_s is ${timeoutMs / 1000}).`
  if (cause instanceof SdkHttpError && (cause.status === 401 || cause.status === 403)) {
    return `It answered ${cause.status}: it needs a token, such as "headers": {"Authorization": "Bearer $\{TOKEN}"} in RETRAI_MCP_SERVERS. retrAI does not log in with OAuth.`
  }
  const [first, ...rest] = causes(cause)
  return [first, ...rest].map((one) => one?.message ?? '').join(': ')
}

function causes(cause: unknown): readonly Error[] {
  if (!(cause instanceof Error)) return [new Error(String(cause))]
  return cause.cause instanceof Error ? [cause, ...causes(cause.cause)] : [cause]
}

/** Words of a server in one line, masked and without what controls a terminal. */
export function shown(words: string): string {
  const line = plainWords(words).replace(/\s+/g, ' ').trim()
  return line.length > MAX_WORDS ? `${line.slice(0, MAX_WORDS).toWellFormed()}…` : line
}

/** Words of a server, masked and without what controls a terminal. */
export const plainWords = (words: string): string =>
  stripTerminalCodes(processMask.text(words.toWellFormed()))
