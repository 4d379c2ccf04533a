import type { ResponseCreateParamsStreaming } from 'openai/resources/responses/responses'
import type { Adapter } from '../adapter.ts'
import { openaiClients } from './openai-client.ts'
import { responsesReader } from './responses-reader.ts'
import { toResponsesBody } from './responses-request.ts'

/**
 * OpenAI's Responses API, which xAI speaks too. Nothing is stored at the provider: its reasoning comes back encrypted, is
 * kept in the log, and is sent again.
 */
export function responsesAdapter(): Adapter {
  const clientOf = openaiClients()
  return {
    framing: 'events',
    body: toResponsesBody,
    send: (body, { endpoint }, signal) =>
      clientOf(endpoint)
        .responses.create(body as ResponseCreateParamsStreaming, { signal })
        .asResponse(),
    reader: ({ tools }) => responsesReader(tools),
  }
}
