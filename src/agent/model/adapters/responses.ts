import type { ResponseCreateParamsStreaming } from 'openai/resources/responses/responses'
import type { Adapter } from '../adapter.ts'
import { openaiClients } from './openai-client.ts'
import { type OptionalParam, withOptional } from './optional-params.ts'
import { responsesReader } from './responses-reader.ts'
import { toResponsesBody } from './responses-request.ts'

type Body = { readonly reasoning?: { readonly summary?: unknown } }

const SUMMARY: OptionalParam = {
  name: 'reasoning.summary',
  without: ({ reasoning: { summary: _, ...reasoning } = {}, ...body }: Body) => ({
    ...body,
    reasoning,
  }),
}

/** Without a stream, the response is one JSON text, which is read as well. */
const STREAM: OptionalParam = {
  name: 'stream',
  without: ({ stream_options: _, ...body }: { stream_options?: unknown }) => ({
    ...body,
    stream: false,
  }),
}

/**
 * OpenAI's Responses API, which xAI speaks too. Nothing is stored at the provider: its reasoning comes back encrypted, is
 * kept in the log, and is sent again.
 */
export function responsesAdapter(): Adapter {
  const clientOf = openaiClients()
  return {
    framing: 'events',
    body: toResponsesBody,
    send: withOptional([SUMMARY, STREAM], (body, { endpoint }, signal) =>
      clientOf(endpoint)
        .responses.create(body as ResponseCreateParamsStreaming, { signal })
        .asResponse(),
    ),
    reader: ({ tools }) => responsesReader(tools),
  }
}
