import type { IncomingHttpHeaders } from 'node:http'
import * as z from 'zod'
import type { ScriptedRequest } from './script.ts'

const Part = z.object({
  text: z.string().optional(),
  image_url: z.object({ url: z.string() }).optional(),
})
const Content = z
  .union([z.string().transform((text) => [{ text, image_url: undefined }]), z.array(Part)])
  .nullish()
  .transform((parts) => parts ?? [])

const Body = z.object({
  model: z.string(),
  messages: z.array(
    z
      .object({
        role: z.string(),
        content: Content,
        tool_calls: z.array(z.unknown()).optional(),
        tool_call_id: z.string().optional(),
      })
      .transform(({ content, ...message }) => {
        const images = content.flatMap(({ image_url }) => image_url?.url ?? [])
        return {
          ...message,
          content: content.map(({ text = '' }) => text).join(''),
          ...(images.length === 0 ? {} : { images }),
        }
      }),
  ),
  tools: z.array(z.object({ function: z.object({ name: z.string() }) })).optional(),
  stream: z.boolean().nullish(),
})

/** Reads the body of a chat completions request; throws if the body is not one. */
export function readRequest(body: string, headers: IncomingHttpHeaders): ScriptedRequest {
  const { model, messages, tools = [], stream } = Body.parse(JSON.parse(body))
  const isReply = ({ role }: { role: string }) => role === 'assistant'
  const firstReply = messages.findIndex(isReply)
  const opening = firstReply === -1 ? messages : messages.slice(0, firstReply)
  return {
    model,
    messages,
    tools: tools.map((tool) => tool.function.name),
    turn: messages.filter(isReply).length,
    conversation: JSON.stringify([model, opening]),
    stream: stream === true,
    headers,
  }
}
