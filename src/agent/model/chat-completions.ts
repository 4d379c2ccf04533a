import { err, ok, type Result } from 'neverthrow'
import OpenAI from 'openai'
import type { z } from 'zod'
import { withDeadline } from './deadline.ts'
import {
  type Asked,
  failureOf,
  holdsProblem,
  nonsense,
  quoter,
  readProblem,
  statusFailure,
  timedOut,
} from './failures.ts'
import type { ModelFailure, ModelReply, ModelRequest } from './model.ts'
import { costUsd } from './prices.ts'
import { Completion, parseJson, readCompletion } from './reply.ts'
import { toRequestBody } from './request.ts'
import { type Endpoint, KEY_OF, type ModelSettings, type Route, route } from './routing.ts'

/** Longer than any deadline of ours, so that only one clock decides: `withDeadline`. */
const NEVER_MS = 2 ** 31 - 1

/** Keeps the whole body of an error: endpoints differ in where they put what they have to say. */
class EndpointClient extends OpenAI {
  protected override makeStatusError(
    status: number,
    error: object,
    message: string | undefined,
    headers: Headers,
  ) {
    return super.makeStatusError(status, { error: error ?? message ?? {} }, undefined, headers)
  }
}

/** A client of one endpoint. What the SDK would take from OPENAI_* variables is settled here instead. */
function createClient({ baseUrl, apiKey }: Endpoint): OpenAI {
  return new EndpointClient({
    baseURL: baseUrl,
    // The SDK wants some key; local endpoints read none.
    apiKey: apiKey ?? 'none',
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    timeout: NEVER_MS,
    logLevel: 'off',
  })
}

/**
 * The largest reply taken. It is recorded twice in one append (what the model said, and the call that
 * follows from it), and an append has to stay below the limit of the store.
 */
const MAX_REPLY_BYTES = 400_000

/** What an endpoint answered with a status of success. */
type Answer = { readonly text: string; readonly headers: Headers }

/** Reads an answer to the request `body`, and prices it. */
function readAnswer(
  { text, headers }: Answer,
  body: unknown,
  target: Route,
  asked: Asked,
): Result<ModelReply, ModelFailure> {
  const json = parseJson(text)
  if (json.isErr()) return err(nonsense(text.trim() || 'it is empty', asked))
  const completion = Completion.safeParse(json.value)
  if (!completion.success) {
    const failure = inBandFailure(json.value, headers, asked)
    return err(failure ?? nonsense(describe(completion.error.issues), asked))
  }
  const { reply, usage } = readCompletion(completion.data, body)
  const bytes = Buffer.byteLength(JSON.stringify([reply.text, reply.toolCalls]))
  if (bytes > MAX_REPLY_BYTES) return err(nonsense(`it is too large, ${bytes} bytes`, asked))
  return ok({ ...reply, costUsd: costUsd(target, usage) })
}

/** Some endpoints send their errors with a status of success. */
function inBandFailure(json: unknown, headers: Headers, asked: Asked): ModelFailure | null {
  if (!holdsProblem(json)) return null
  const code = Number(readProblem(json).code)
  return statusFailure(code >= 400 && code < 600 ? code : 500, json, headers, asked)
}

function describe(issues: readonly z.core.$ZodIssue[]): string {
  return issues
    .map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '))
    .join('; ')
}

type RequestBody = ReturnType<typeof toRequestBody>

/** Makes one attempt to get the reply to a request. */
type Complete = (
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
