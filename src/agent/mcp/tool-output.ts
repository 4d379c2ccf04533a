import { isDeepStrictEqual } from 'node:util'
import type { CallToolResult } from '@modelcontextprotocol/client'
import { present } from '../../domain/present.ts'
import type { ImageType } from '../../domain/records.ts'
import { parseJson } from '../model/reply-parts.ts'
import { imageIn } from '../tools/images.ts'
import { failed, succeeded, type ToolContext, type ToolOutput } from '../tools/tool.ts'

type Block = CallToolResult['content'][number]
/** A block as a text, and the image that is in it if the model in use can be shown it. */
type Part = { readonly text: string; readonly image?: NonNullable<ToolOutput['image']> }

/**
 * The result of a call as the model gets it. A result holds one image, the first that the model can be shown. Everything
 * else that is not text is named with its type and size.
 */
export async function outputOf(
  { content, structuredContent, isError }: CallToolResult,
  imageTypes: ToolContext['imageTypes'],
): Promise<ToolOutput> {
  const types = content.some(hasBytes) ? await imageTypes() : []
  const parts = content.map((block) => partOf(block, types))
  const shown = parts.find(({ image }) => image !== undefined)
  const blocks = parts.map((part) =>
    part.image === undefined || part === shown ? part.text : withoutImage(part.text),
  )
  const isNew = structuredContent !== undefined && !isRepeated(blocks, structuredContent)
  const output = [...blocks, ...(isNew ? [JSON.stringify(structuredContent)] : [])].join('\n')
  const image = present({ image: shown?.image })
  return isError === true
    ? { ...failed(output || 'The call failed, and the server gave no reason.'), ...image }
    : { ...succeeded(output), ...image }
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

/**
 * Whether texts say the same as the structured content. Most servers send both, for older clients, and some put a result
 * that is no object into one: `{"result": …}`.
 */
function isRepeated(texts: readonly string[], structured: unknown): boolean {
  const values = texts.map((text) => parseJson(text).unwrapOr(text))
  const [only, ...others] = Object.values(structured ?? {})
  const forms = others.length === 0 && only !== undefined ? [structured, only] : [structured]
  return forms.some((form) =>
    [...texts, ...values, texts, values].some((said) => isDeepStrictEqual(said, form)),
  )
}

/** The result of a call to a server that is not there. */
export const notCalled = (server: string, why: string): ToolOutput =>
  failed(`The call was not made, because the MCP server ${server} is not available now: ${why}`)
