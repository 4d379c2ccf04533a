import type { CallToolResult } from '@modelcontextprotocol/client'
import { failed, succeeded, type ToolOutput } from '../tools/tool.ts'

type Block = CallToolResult['content'][number]

/** The result of a call as the model reads it. What a model cannot read as text is named with its type and size. */
export function outputOf({ content, structuredContent, isError }: CallToolResult): ToolOutput {
  const blocks = content.map(textOf)
  const structured = structuredContent === undefined ? '' : JSON.stringify(structuredContent)
  // Most servers send the same as a text, for older clients.
  const isRepeated = structured === '' || blocks.some((text) => isSameJson(text, structured))
  const output = [...blocks, ...(isRepeated ? [] : [structured])].join('\n')
  return isError === true
    ? failed(output || 'The call failed, and the server gave no reason.')
    : succeeded(output)
}

function textOf(block: Block): string {
  switch (block.type) {
    case 'text':
      return block.text
    case 'image':
    case 'audio':
      return `[${block.type}, ${block.mimeType}, ${bytesOf(block.data)} bytes: not shown]`
    case 'resource_link':
      return [`[link to ${block.uri}] ${block.name}`, block.description ?? ''].join('\n').trimEnd()
    case 'resource': {
      const { uri, mimeType = 'of no type' } = block.resource
      return 'text' in block.resource
        ? `[resource ${uri}]\n${block.resource.text}`
        : `[resource ${uri}, ${mimeType}, ${bytesOf(block.resource.blob)} bytes: not shown]`
    }
  }
}

const bytesOf = (base64: string): number => Buffer.byteLength(base64, 'base64')

function isSameJson(text: string, json: string): boolean {
  if (!/^\s*[[{]/.test(text)) return false
  try {
    return JSON.stringify(JSON.parse(text)) === json
  } catch {
    return false
  }
}

/** The result of a call to a server that is not there. */
export const notCalled = (server: string, why: string): ToolOutput =>
  failed(`The call was not made, because the MCP server ${server} is not there now: ${why}`)
