import { err, type Result, ResultAsync } from 'neverthrow'
import type OpenAI from 'openai'
import { type Answer, readAnswer } from './answer.ts'
import { createClient } from './client.ts'
import { withDeadline } from './deadline.ts'
import { type Asked, failureOf, timedOut } from './failures.ts'
import type { ModelFailure, ModelReply, ModelRequest, Models } from './model.ts'
import { contextBudget } from './prices.ts'
import { quoter } from './quote.ts'
import { toRequestBody } from './request.ts'
import { type Endpoint, KEY_OF, route } from './routing.ts'
import type { ModelSettings } from './settings.ts'

const DEFAULT_TIMEOUT_MS = 600_000

type RequestBody = ReturnType<typeof toRequestBody>

/**
 * The models behind OpenAI-compatible endpoints.
 * @param options.timeoutMs how long one reply may take, from the request to its last byte; 10 minutes
 *   unless given. Node's fetch waits 5 minutes for the first byte at most.
 */
export function createModels(
  settings: ModelSettings,
  options: { readonly timeoutMs?: number } = {},
): Models {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const { llmApiKey, anthropicApiKey, geminiApiKey, openaiApiKey } = settings
  const quote = quoter([llmApiKey, anthropicApiKey, geminiApiKey, openaiApiKey])
  const clientOf = clientPool()

  const complete = async (
    request: ModelRequest,
    signal: AbortSignal,
  ): Promise<Result<ModelReply, ModelFailure>> => {
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

  return {
    complete: (request, signal) => new ResultAsync(complete(request, signal)),
    missingKey: (modelName) => route(modelName, settings).missingKey,
    contextBudget: (modelName) => contextBudget(route(modelName, settings)),
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
