import { err, type Result } from 'neverthrow'
import type OpenAI from 'openai'
import { type Answer, readAnswer } from './answer.ts'
import { createClient } from './client.ts'
import { withDeadline } from './deadline.ts'
import { type Asked, failureOf, timedOut } from './failures.ts'
import type { ModelFailure, ModelReply, ModelRequest } from './model.ts'
import { quoter } from './quote.ts'
import { toRequestBody } from './request.ts'
import { type Endpoint, KEY_OF, type ModelSettings, route } from './routing.ts'

type RequestBody = ReturnType<typeof toRequestBody>

/** Makes one attempt to get the reply to a request. */
export type Complete = (
  request: ModelRequest,
  signal: AbortSignal,
) => Promise<Result<ModelReply, ModelFailure>>

/**
 * Completes conversations at OpenAI-compatible endpoints.
 * @param timeoutMs how long one reply may take, from the request to its last byte. Node's fetch waits
 *   5 minutes for the first byte at most.
 */
export function createChatCompletions(settings: ModelSettings, timeoutMs: number): Complete {
  const { llmApiKey, anthropicApiKey, geminiApiKey, openaiApiKey } = settings
  const quote = quoter([llmApiKey, anthropicApiKey, geminiApiKey, openaiApiKey])
  const clientOf = clientPool()

  return async (request, signal) => {
    const target = route(request.modelName, settings)
    const { endpoint, model } = target
    const keyName = KEY_OF[endpoint.provider]
    const asked: Asked = { host: hostOf(endpoint), model, keyName, quote }
    const body = toRequestBody(request, target)
    const client = clientOf(endpoint)
    const answer = await withDeadline(signal, timeoutMs, (abort) => post(client, body, abort))
    if (answer.isOk()) return readAnswer(answer.value, body, target, asked)
    switch (answer.error.type) {
      case 'aborted':
        return err({ type: 'cancelled' })
      case 'timed_out':
        return err(timedOut(timeoutMs, asked))
      case 'threw':
        return err(failureOf(answer.error.cause, asked))
    }
  }
}

/** One client an endpoint, so that its connections are kept alive. */
function clientPool(): (endpoint: Endpoint) => OpenAI {
  const clients = new Map<Endpoint['provider'], OpenAI>()
  return (endpoint) => {
    const client = clients.get(endpoint.provider) ?? createClient(endpoint)
    clients.set(endpoint.provider, client)
    return client
  }
}

/** Reads the text itself rather than let the SDK parse it: not every endpoint names its content type. */
async function post(client: OpenAI, body: RequestBody, signal: AbortSignal): Promise<Answer> {
  const response = await client.chat.completions.create(body, { signal }).asResponse()
  return { text: await response.text(), headers: response.headers }
}

function hostOf({ baseUrl }: Endpoint): string {
  return URL.parse(baseUrl)?.host ?? baseUrl
}
