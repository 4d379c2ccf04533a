import type { ChatCompletionCreateParamsStreaming } from 'openai/resources/chat/completions'
import type { Adapter } from '../adapter.ts'
import { chatReader } from './chat-reader.ts'
import { toChatBody } from './chat-request.ts'
import { openaiClients } from './openai-client.ts'
import { type OptionalParam, withOptional } from './optional-params.ts'

const STREAM_OPTIONS: OptionalParam = {
  name: 'stream_options',
  without: ({ stream_options: _, ...body }: { stream_options?: unknown }) => body,
}

/**
 * OpenAI's chat completions, which most endpoints speak. The response is read by us and not by the SDK: not every
 * endpoint sends its content type or streams at all, and the SDK ends a stream that was cut off as if it were whole.
 */
export function chatAdapter(): Adapter {
  const clientOf = openaiClients()
  return {
    framing: 'events',
    body: toChatBody,
    send: withOptional([STREAM_OPTIONS], (body, { endpoint }, signal) =>
      clientOf(endpoint)
        .chat.completions.create(body as ChatCompletionCreateParamsStreaming, { signal })
        .asResponse(),
    ),
    reader: () => chatReader(),
  }
}
