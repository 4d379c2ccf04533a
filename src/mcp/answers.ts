import { isDeepStrictEqual } from 'node:util'
import {
  type CallToolResult,
  ProtocolError,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
} from '@modelcontextprotocol/client'
import type { McpServer } from '../domain/mcp-servers.ts'
import { present } from '../domain/present.ts'
import type { ImageType } from '../domain/records.ts'
import { stripTerminalCodes } from '../domain/texts.ts'
import { jsonOr } from '../lib/json.ts'
import { messageOf } from '../lib/message-of.ts'
import { processMask } from '../masking/process-mask.ts'
import { imageIn, type ShownImage } from '../models/images.ts'

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
  return failed(isRefused ? answer : `${answer}\n${NOT_KNOWN}`)
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
  return causes(cause)
    .map(({ message }) => message)
    .join(': ')
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
