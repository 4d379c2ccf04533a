import { err, ok, type Result } from 'neverthrow'
import OpenAI from 'openai'
import type { z } from 'zod'
import { withDeadline } from './deadline.ts'
import {
  type CallInfo,
  failureOf,
  holdsProblem,
  invalidReply,
  quoter,
  readProblem,
  statusFailure,
  timedOut,
} from './failures.ts'
import type { ModelFailure, ModelReply, ModelRequest } from './model.ts'
import { costUsd } from './prices.ts'
import { Completion, parseJson, readCompletion } from './reply.ts'
import { toRequestBody } from './request.ts'
import {
  type Endpoint,
  keysOf,
  keyVariable,
  type ModelSettings,
  type Route,
  route,
} from './routing.ts'

/** Longer than any deadline of this server, so that only `withDeadline` decides. */
const NEVER_MS = 2 ** 31 - 1

/** Keeps the whole body of an error, because endpoints put their message in different places. */
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

/** A client of one endpoint. It sets everything that the SDK would otherwise read from OPENAI_* variables. */
function createClient({ baseUrl, apiKey }: Endpoint): OpenAI {
  return new EndpointClient({
    baseURL: baseUrl,
    // The SDK requires a key, even for local endpoints that need none.
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
 * The largest reply that is accepted. One append records it twice (the reply, and the call that follows from it), and
 * an append must stay below the limit of the store.
 */
const MAX_REPLY_BYTES = 400_000

/** The response of an endpoint with a status of success. */
type Answer = { readonly text: string; readonly headers: Headers }

/** Reads the answer to the request `body`, and computes its price. */
function readAnswer(
  { text, headers }: Answer,
  body: unknown,
  target: Route,
  call: CallInfo,
): Result<ModelReply, ModelFailure> {
  const json = parseJson(text)
  if (json.isErr()) return err(invalidReply(text.trim() || 'it is empty', call))
  const completion = Completion.safeParse(json.value)
  if (!completion.success) {
    const failure = inBandFailure(json.value, headers, call)
    return err(failure ?? invalidReply(describe(completion.error.issues), call))
  }
  const { reply, usage } = readCompletion(completion.data, body)
  const bytes = Buffer.byteLength(JSON.stringify([reply.text, reply.toolCalls]))
  if (bytes > MAX_REPLY_BYTES) return err(invalidReply(`it is too large, ${bytes} bytes`, call))
  return ok({ ...reply, costUsd: costUsd(target, usage) })
}

/** Some endpoints send their errors with a status of success. */
function inBandFailure(json: unknown, headers: Headers, call: CallInfo): ModelFailure | null {
  if (!holdsProblem(json)) return null
  const code = Number(readProblem(json).code)
  return statusFailure(code >= 400 && code < 600 ? code : 500, json, headers, call)
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
 * @param timeoutMs how long one reply may take, from the request to its last byte. Node's fetch waits for the first
 * byte for at most 5 minutes.
 */
export function createChatCompletions(settings: ModelSettings, timeoutMs: number): Complete {
  const quote = quoter(keysOf(settings))
  const clientOf = clientPool()

  return async (request, signal) => {
    const target = route(request.modelName, settings)
    const { endpoint, model } = target
    const keyName = keyVariable(endpoint.provider)
    const call: CallInfo = { host: hostOf(endpoint), model, keyName, quote }
    const body = toRequestBody(request, target)
    const client = clientOf(endpoint)
    const answer = await withDeadline(signal, timeoutMs, (abort) => post(client, body, abort))
    if (answer.isOk()) return readAnswer(answer.value, body, target, call)
    switch (answer.error.type) {
      case 'aborted':
        return err({ type: 'cancelled' })
      case 'timed_out':
        return err(timedOut(timeoutMs, call))
      case 'threw':
        return err(failureOf(answer.error.cause, call))
    }
  }
}

/** One client per endpoint, so that its connections are kept alive. */
function clientPool(): (endpoint: Endpoint) => OpenAI {
  const clients = new Map<Endpoint['provider'], OpenAI>()
  return (endpoint) => {
    const client = clients.get(endpoint.provider) ?? createClient(endpoint)
    clients.set(endpoint.provider, client)
    return client
  }
}

/** Reads the text itself and does not let the SDK parse it, because not every endpoint sends its content type. */
async function post(client: OpenAI, body: RequestBody, signal: AbortSignal): Promise<Answer> {
  const response = await client.chat.completions.create(body, { signal }).asResponse()
  return { text: await response.text(), headers: response.headers }
}

function hostOf({ baseUrl }: Endpoint): string {
  return URL.parse(baseUrl)?.host ?? baseUrl
}
