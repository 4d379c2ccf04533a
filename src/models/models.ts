import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { present } from '../domain/present.ts'
import type { Adapter, Complaint, RawReply, RefusedRequest } from './adapter.ts'
import { chatAdapter } from './adapters/chat.ts'
import { geminiAdapter } from './adapters/gemini.ts'
import { messagesAdapter } from './adapters/messages.ts'
import { ollamaAdapter } from './adapters/ollama.ts'
import { responsesAdapter } from './adapters/responses.ts'
import { askedRoutes } from './catalogue.ts'
import {
  brokenOff,
  type CallInfo,
  holdsProblem,
  noReply,
  reportedFailure,
  statusFailure,
  tooSlow,
  unreachable,
  unusableReply,
} from './failures.ts'
import { imageTypes, thinksOnlyIfAsked } from './known-models.ts'
import type { ModelFailure, ModelPart, ModelReply, ModelRequest, Models } from './model.ts'
import { contextBudget, replyWithin } from './prices.ts'
import { asReply, finish, parseJson, withUsed } from './replies.ts'
import type { Api, ModelSettings, Route } from './routing.ts'
import { framesOf } from './send.ts'

const ADAPTERS: Readonly<Record<Api, Adapter>> = {
  chat: chatAdapter,
  responses: responsesAdapter,
  messages: messagesAdapter,
  gemini: geminiAdapter,
  ollama: ollamaAdapter,
}

/** Limits in milliseconds. */
export type Deadlines = {
  readonly totalMs: number
  /** How long it may take until anything is heard. */
  readonly firstMs: number
  /** How long an endpoint may be silent after that. */
  readonly silenceMs: number
}
const DEADLINES: Deadlines = {
  totalMs: 3_600_000,
  firstMs: 600_000,
  silenceMs: 300_000,
}
/** How long a connection may stay open after the last message of a reply. If it ends in this time, it is used again. */
const DRAIN_MS = 50

/** The models of these settings. */
export function createModels(settings: ModelSettings): Models {
  const routeOf = askedRoutes(settings)
  const ask = async (...[request, signal, onPart = () => {}]: Parameters<Models['complete']>) => {
    const route = await routeOf(request.modelName)
    const target = { route, adapter: ADAPTERS[route.api], deadlines: DEADLINES }
    return complete(request, target, signal, onPart)
  }
  return {
    complete: (...asked) => new ResultAsync(ask(...asked)),
    contextBudget: async (modelName) => contextBudget(await routeOf(modelName)),
    replyWithin: async ({ modelName, maxOutputTokens }, inputTokens, leftUsd) =>
      replyWithin(await routeOf(modelName), maxOutputTokens, inputTokens, leftUsd),
    imageTypes: async (modelName) => imageTypes(await routeOf(modelName)),
  }
}

type Target = {
  readonly route: Route
  readonly adapter: Adapter
  readonly deadlines: Deadlines
}

/** Makes one attempt to get the reply to a request. */
export async function complete(
  request: ModelRequest,
  { route, adapter, deadlines }: Target,
  signal: AbortSignal,
  onPart: (part: ModelPart) => void,
): Promise<Result<ModelReply, ModelFailure>> {
  const { endpoint, model, problem } = route
  if (problem !== null) {
    return err({ type: 'refused', message: `The model "${request.modelName}" ${problem}` })
  }
  const host = URL.parse(endpoint.baseUrl)?.host ?? endpoint.baseUrl
  const call: CallInfo = { host, model, keyName: endpoint.keyVariable }
  const body = adapter.body({ ...request, ...effortOf(request, route) }, route)
  const reader = adapter.reader()
  const began = performance.now()
  let firstTokenMs: number | null = null
  let written = 0
  const observe = (part: ModelPart) => {
    firstTokenMs ??= Math.round(performance.now() - began)
    written += 'text' in part ? part.text.length : part.tool.length
    onPart(part)
  }
  const attempt = { adapter, body, route, reader, call, deadlines, observe }
  const received = await tryOnce(attempt, signal)
  return received
    .orElse((failure) => asReply(failure, reader))
    .andThen((raw) => finish(raw, { body, route, call }))
    .map((reply) => ({ ...reply, firstTokenMs }))
    .mapErr((failure) => withUsed(failure, { reader, written, body, route }))
}

/** The same in all requests of a run to this model, because a change voids the cache. */
const effortOf = ({ effort, defaultEffort }: ModelRequest, route: Route) =>
  present({ effort: effort ?? (thinksOnlyIfAsked(route) ? defaultEffort : undefined) })

type Attempt = Target & {
  readonly body: object
  readonly reader: ReturnType<Adapter['reader']>
  readonly call: CallInfo
  readonly observe: (part: ModelPart) => void
}

/** Sends a request and reads its reply to the end, within the deadlines. A reply that is not whole is a failure. */
async function tryOnce(
  attempt: Attempt,
  signal: AbortSignal,
): Promise<Result<RawReply, ModelFailure>> {
  if (signal.aborted) return err({ type: 'cancelled' })
  const { reader, call, deadlines } = attempt
  const stop = new AbortController()
  let late: Parameters<typeof tooSlow>[0] | undefined
  const limit = (type: 'timed_out' | 'silent', ms: number) =>
    setTimeout(() => {
      late ??= { type, ms }
      stop.abort()
    }, ms)
  const total = limit('timed_out', deadlines.totalMs)
  let silence = limit('silent', deadlines.firstMs)
  const heard = () => {
    clearTimeout(silence)
    silence = limit('silent', reader.state === 'ended' ? DRAIN_MS : deadlines.silenceMs)
  }
  try {
    const read = await exchange(attempt, AbortSignal.any([signal, stop.signal]), heard)
    if (read.isOk()) return read
    if (signal.aborted) return err({ type: 'cancelled' })
    if (late === undefined) return read
    const failure = tooSlow(late, call)
    // An endpoint may keep the connection open after a whole reply, and not say that it was the end.
    return reader.state === 'open' ? err(failure) : reader.reply().mapErr(() => failure)
  } finally {
    clearTimeout(total)
    clearTimeout(silence)
  }
}

async function exchange(
  { adapter, body, route, reader, call, observe }: Attempt,
  signal: AbortSignal,
  heard: () => void,
): Promise<Result<RawReply, ModelFailure>> {
  let response: Response | RefusedRequest
  try {
    response = await adapter.send(body, route, signal)
  } catch (cause) {
    return err(unreachable(cause, call))
  }
  const { headers } = response
  if (!(response instanceof Response)) {
    return err(statusFailure(response.status, response.body, headers, call))
  }
  heard()
  const failure = (complaint: Complaint): ModelFailure =>
    complaint.type === 'invalid'
      ? unusableReply(complaint.what, call)
      : reportedFailure(complaint.body, headers, call)
  let isEmpty = true
  const take = (frame: string): Result<void, ModelFailure> => {
    if (frame.trim() === '' || reader.state === 'ended') return ok()
    if (frame.trim() === '[DONE]') return ok(reader.done?.())
    const json = parseJson(frame)
    if (json.isErr()) return err(noReply(frame, call))
    isEmpty = false
    if (holdsProblem(json.value)) return err(reportedFailure(json.value, headers, call))
    return reader
      .read(json.value)
      .map((parts) => parts.forEach(observe))
      .mapErr(failure)
  }
  try {
    for await (const frame of framesOf(response, adapter.framing, signal, heard)) {
      const taken = take(frame)
      if (taken.isErr()) return err(taken.error)
    }
  } catch (cause) {
    return err(brokenOff(cause, call))
  }
  if (reader.state !== 'open') return reader.reply().mapErr(failure)
  if (isEmpty) return err(noReply('it is empty', call))
  const isWhole = adapter.framing === 'events' && headers.get('content-type')?.includes('json')
  if (isWhole) return err(noReply('it is not a stream of events', call))
  return err(brokenOff(new Error('it ended too early'), call))
}
