import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import type { McpServer } from '../../domain/mcp-servers.ts'
import { stripTerminalCodes } from '../../domain/terminal-codes.ts'
import { messageOf } from '../../lib/message-of.ts'
import { processMask } from '../../log/masking.ts'
import type { ToolOutput } from '../tools/tool.ts'

/** Words of a server in a sentence of ours. */
const MAX_WORDS = 600

/** For the model, about a call that may have changed something. */
export const NOT_KNOWN = 'Whether the call took effect is not known. Look before you repeat it.'

/** The result of a call that failed; null if the server was lost, so that it is not known what the call did. */
export function failedCall(cause: unknown, { name, call_timeout_s }: McpServer): ToolOutput | null {
  if (isTimeout(cause)) {
    const output = `The MCP server ${name} gave no answer within ${call_timeout_s} s, so the call was cancelled. ${NOT_KNOWN}`
    return { output, exitCode: null, outcome: 'timed_out' }
  }
  if (cause instanceof ProtocolError) {
    const output = `The MCP server ${name} refused the call: ${shown(cause.message)}`
    return { output, exitCode: 1, outcome: 'error' }
  }
  if (cause instanceof SdkHttpError || isInvalid(cause)) {
    const isRefused = cause instanceof SdkHttpError && cause.status < 500
    const answer = `The MCP server ${name} gave an answer to the call that is not valid: ${shown(messageOf(cause))}`
    const output = isRefused ? answer : `${answer}\n${NOT_KNOWN}`
    return { output, exitCode: 1, outcome: 'error' }
  }
  return null
}

export const isTimeout = (cause: unknown): boolean =>
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
