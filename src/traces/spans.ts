import { type SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import type { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { modelInUse } from '../domain/model-choice.ts'
import { present } from '../domain/present.ts'
import { LruCache } from '../lib/lru-cache.ts'
import { sha256 } from '../lib/sha256.ts'
import { storedJson } from '../log/codec.ts'
import { type LoadError, type LoadedRun, load, runIdOf, streamOf } from '../log/run-log.ts'
import { eventAt, type StreamReader } from '../log/stream-pages.ts'
import type { RecordedEvent } from '../store/event-store.ts'

export type Span = Parameters<typeof ProtobufTraceSerializer.serializeRequest>[0][number]

/** What spans show of records, by kind: no content. A record is not validated again, as the read model does that. */
const record = <S extends z.ZodRawShape>(payload: S) =>
  z.object({ ts: z.number(), payload: z.object(payload) })
const maybeCount = z.int().nullish()
const Created = record({
  config: z.object({ model_name: z.string() }),
  parent: z.object({ run_id: z.string() }).optional(),
})
const Used = record({
  model_name: z.string(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  cached_tokens: maybeCount,
  cache_write_tokens: maybeCount,
  duration_ms: z.int(),
  provider: z.string().optional(),
  purpose: z.string().optional(),
})
const Failed = record({ failure: z.string().optional(), by: z.string().optional() })
const ToolEnded = record({
  call_id: z.string(),
  tool: z.string(),
  outcome: z.string(),
  duration_ms: z.int(),
  subagent: z.object({ run_id: z.string() }).optional(),
})
const Ended = record({ status: z.string() })

/** The kinds that follow the use of a model in its append, or report that it failed. */
const OUTCOMES: Readonly<Record<string, 'reply' | 'failure'>> = {
  assistant_message: 'reply',
  context_compacted: 'reply',
  run_summary: 'reply',
  llm_retry: 'failure',
  error: 'failure',
  run_paused: 'failure',
}

/** Runs that have asked a model in vain, in memory as of their last failure. */
const RECENT_RUNS = 64

type Made = Result<Span | null, LoadError>

/** Makes the spans of runs. They depend on the log alone, with their ids, so they are the same each time. */
export class SpanMaker {
  readonly #store: StreamReader
  /** By stream: its last record, if that is the use of a model. */
  readonly #used = new Map<string, RecordedEvent>()
  readonly #failing = new LruCache<LoadedRun>(RECENT_RUNS)

  constructor(store: StreamReader) {
    this.#store = store
  }

  /** The span that a record completes; null if it completes none. Records come in the order of the log. */
  async spanOf(event: RecordedEvent): Promise<Made> {
    const { type, stream } = event
    const used = this.#used.get(stream)
    this.#used.delete(stream)
    if (type === 'llm_usage') this.#used.set(stream, event)
    else if (type in OUTCOMES) return this.#modelSpan(event, used)
    else if (type === 'tool_result') return ok(this.#toolSpan(event))
    else if (type === 'run_end') return this.#runSpan(event)
    return ok(null)
  }

  async #modelSpan(event: RecordedEvent, known: RecordedEvent | undefined): Promise<Made> {
    const { stream, revision, type } = event
    // The first record after a restart may follow one that was read before it.
    const before = known ? ok(known) : await eventAt(this.#store, stream, revision - 1)
    if (before.isErr()) return err(before.error)
    const failed = OUTCOMES[type] === 'failure' ? read(Failed, event) : null
    const error = failed && (failed.payload.failure ?? OTHER)
    if (before.value?.type !== 'llm_usage')
      return failed ? this.#failedSpan(event, failed) : ok(null)
    const used = read(Used, before.value)
    if (used === null) return ok(null)
    const { payload: usage, ts } = used
    const { model_name: model, duration_ms, purpose, provider } = usage
    return ok(
      this.#span(event, `chat ${model}`, {
        kind: SpanKind.CLIENT,
        id: spanId(before.value),
        from: ts - duration_ms / 1000,
        to: ts,
        error,
        attributes: {
          'gen_ai.operation.name': 'chat',
          'gen_ai.request.model': model,
          'gen_ai.provider.name': PROVIDERS[String(provider)] ?? provider,
          'gen_ai.usage.input_tokens': usage.input_tokens,
          'gen_ai.usage.output_tokens': usage.output_tokens,
          'gen_ai.usage.cache_read.input_tokens': usage.cached_tokens,
          'gen_ai.usage.cache_creation.input_tokens': usage.cache_write_tokens,
          'retrai.purpose': purpose,
        },
      }),
    )
  }

  /** A request that used nothing. Its model and its beginning are known from the records before it. */
  async #failedSpan(event: RecordedEvent, { ts, payload }: z.infer<typeof Failed>): Promise<Made> {
    const runId = runIdOf(event.stream)
    const loaded = await load(this.#store, runId, {
      from: this.#failing.get(runId) ?? null,
      to: event.revision - 1,
    })
    if (loaded.isErr() && loaded.error.type !== 'damaged_record') return err(loaded.error)
    const run = loaded.unwrapOr(null)
    if (run === null) return ok(null)
    this.#failing.set(runId, run)
    const { phase, lastAt } = run.state
    if (phase.type !== 'planning' || (payload.by ?? 'provider') !== 'provider') return ok(null)
    const model = modelInUse(run.state)
    return ok(
      this.#span(event, `chat ${model}`, {
        kind: SpanKind.CLIENT,
        id: spanId(event),
        from: phase.wait?.nextTry ?? lastAt,
        to: ts,
        error: payload.failure ?? OTHER,
        attributes: { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': model },
      }),
    )
  }

  #toolSpan(event: RecordedEvent): Span | null {
    const ended = read(ToolEnded, event)
    if (ended === null) return null
    const { ts, payload } = ended
    const { tool, call_id: callId, duration_ms, outcome, subagent } = payload
    const id = subagent ? callOf(subagent.run_id) : spanId(event)
    return this.#span(event, `execute_tool ${tool}`, {
      kind: SpanKind.INTERNAL,
      id,
      from: ts - duration_ms / 1000,
      to: ts,
      error: outcome === 'ok' ? null : outcome,
      attributes: {
        'gen_ai.operation.name': 'execute_tool',
        'gen_ai.tool.name': tool,
        'gen_ai.tool.call.id': callId,
      },
    })
  }

  async #runSpan(event: RecordedEvent): Promise<Made> {
    const runId = runIdOf(event.stream)
    const first = await eventAt(this.#store, event.stream, 0)
    if (first.isErr()) return err(first.error)
    const created = first.value && read(Created, first.value)
    const ended = read(Ended, event)
    if (created === null || ended === null) return ok(null)
    const { config, parent } = created.payload
    const { status } = ended.payload
    return ok(
      this.#span(event, 'invoke_agent', {
        kind: SpanKind.INTERNAL,
        id: rootOf(runId),
        from: created.ts,
        to: ended.ts,
        ...(parent && { link: context(parent.run_id, callOf(runId)) }),
        error: status === 'failed' ? status : null,
        attributes: {
          'gen_ai.operation.name': 'invoke_agent',
          'gen_ai.request.model': config.model_name,
          'retrai.status': status,
        },
      }),
    )
  }

  #span({ stream }: RecordedEvent, name: string, drawn: Drawn): Span {
    const { kind, id, from, to, error, attributes, link } = drawn
    const runId = runIdOf(stream)
    const own = context(runId, id)
    const root = rootOf(runId)
    const shared = { 'gen_ai.conversation.id': runId, 'error.type': error }
    return {
      name,
      kind,
      spanContext: () => own,
      startTime: time(Math.min(from, to)),
      endTime: time(to),
      ...(id === root ? {} : { parentSpanContext: context(runId, root) }),
      status: { code: error === null ? SpanStatusCode.UNSET : SpanStatusCode.ERROR },
      attributes: present({ ...attributes, ...shared }),
      links: link ? [{ context: link }] : [],
      events: [],
      ended: true,
      duration: time(Math.max(0, to - from)),
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
      resource: RESOURCE,
      instrumentationScope: SCOPE,
    }
  }
}

type Drawn = {
  readonly kind: SpanKind
  readonly id: string
  /** Seconds since the epoch. */
  readonly from: number
  readonly to: number
  /** Null if it ended well. */
  readonly error: string | null
  /** By their names in the conventions; `retrai.*` are of none. Those that are missing or null are left out. */
  readonly attributes: Readonly<Record<string, string | number | null | undefined>>
  readonly link?: SpanContext
}

/** The version of the GenAI semantic conventions of OpenTelemetry that the spans follow. */
const SCOPE = { name: 'retrai', schemaUrl: 'https://opentelemetry.io/schemas/1.41.0' }
/** What the conventions call an error that has no name. */
const OTHER = '_OTHER'
/** Only its attributes are sent. */
const RESOURCE = { attributes: { 'service.name': 'retrai' } } as unknown as Span['resource']

/** Null for a record that is damaged: it has no span. */
function read<T>(shape: z.ZodType<T>, event: RecordedEvent): T | null {
  return shape.safeParse(storedJson(event, event.data)).data ?? null
}

/** The id of the run, which is a UUID, is that of its trace. */
const context = (runId: string, spanId: string): SpanContext => ({
  traceId: runId.replaceAll('-', ''),
  spanId,
  traceFlags: 1,
})
const idOf = (name: string): string => sha256(name).slice(0, 16)
const spanId = ({ stream, revision }: RecordedEvent): string => idOf(`${stream}/${revision}`)
const rootOf = (runId: string): string => idOf(`${streamOf(runId)}/0`)
/** The call that has started a sub-agent: both runs know the id of the sub-agent. */
const callOf = (subagent: string): string => idOf(`call of ${subagent}`)

/** Seconds and nanoseconds. Records have milliseconds. */
function time(seconds: number): [number, number] {
  const ms = Math.round(seconds * 1000)
  return [Math.floor(ms / 1000), (ms % 1000) * 1_000_000]
}

/** Providers that the conventions name in another way. */
const PROVIDERS: Readonly<Record<string, string>> = {
  gemini: 'gcp.gemini',
  mistral: 'mistral_ai',
  xai: 'x_ai',
}
