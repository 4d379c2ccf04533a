import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { streamOf } from '../../src/log/run-log.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { startTraces } from '../../src/traces/exporter.ts'
import { by, check, claim, create, given, reply, result } from '../domain/support.ts'
import { append, prepare } from '../support/append-records.ts'
import { familyOf, SUBAGENT_ID } from '../support/family.ts'
import { memoryStore } from '../support/memory-store.ts'
import { validAppends } from '../support/run-records.ts'
import { Collector, type ReceivedSpan } from './collector.ts'

const silent = { info: () => {}, warn: () => {}, error: () => {} }
const PATIENCE = { timeout: 60_000, interval: 5 }

type Events = ReturnType<typeof familyOf>['parent']['events']

/** Adds the stream of a run. */
async function add(store: EventStore, events: Events): Promise<void> {
  const options = { expectedRevision: 'no_stream' } as const
  ;(await store.append(events[0]?.stream ?? '', events, options))._unsafeUnwrap()
}

/** A log with these runs, each a list of events. */
async function logOf(...runs: readonly Events[]): Promise<EventStore> {
  const store = memoryStore()
  for (const events of runs) await add(store, events)
  return store
}

/** Exports a log into a collector until `stop`. */
const exporting = async (
  store: EventStore,
  { url }: Collector,
  options: Partial<Parameters<typeof startTraces>[0]> = {},
) => {
  const { file = await newFile() } = options
  return startTraces({ store, log: silent, endpoint: url, retryMs: [1, 5], ...options, file })
}

const untilSpans = (collector: Collector, count: number) =>
  vi.waitFor(() => expect(collector.spans.length).toBeGreaterThanOrEqual(count), PATIENCE)

async function newFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-traces-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'traces.json')
}

/** Exports a log into a new collector until it has as many spans. */
async function exported(store: EventStore, count: number) {
  await using collector = await Collector.start()
  const traces = await exporting(store, collector)
  await untilSpans(collector, count)
  await traces.stop()
  return collector.spans
}

const idOf = (runId: string): string => runId.replaceAll('-', '')

describe('the traces of runs', () => {
  test('are a root with its requests and calls, and a sub-agent is linked to its call', async () => {
    const { parent, subagent } = familyOf()
    const spans = await exported(await logOf(parent.events, subagent.events), 5)
    const of = (runId: string) => spans.filter(({ traceId }) => traceId === idOf(runId))
    const [chat, call, root] = of(parent.runId)
    expect(of(parent.runId).map(({ name, kind, isError }) => [name, kind, isError])).toEqual([
      ['chat claude-sonnet-4-6', 3, false],
      ['execute_tool run_subagent', 1, true],
      ['invoke_agent', 1, false],
    ])
    for (const span of [chat, call]) expect(span?.parentSpanId).toBe(root?.spanId)
    expect(root?.parentSpanId).toBeNull()
    expect(call?.attributes).toEqual({
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.conversation.id': parent.runId,
      'gen_ai.tool.name': 'run_subagent',
      'gen_ai.tool.call.id': 'c0',
      'error.type': 'error',
    })
    const child = of(SUBAGENT_ID).at(-1)
    expect(child?.name).toBe('invoke_agent')
    expect(child?.links).toEqual([{ traceId: idOf(parent.runId), spanId: call?.spanId }])
    const first = parent.records[0]
    const last = parent.records.at(-1)
    expect(root?.from).toBe(BigInt(Math.round((first?.ts ?? 0) * 1000)) * 1_000_000n)
    expect(root?.to).toBe(BigInt(Math.round((last?.ts ?? 0) * 1000)) * 1_000_000n)
  })

  const USED = {
    input_tokens: 900,
    output_tokens: 100,
    cost_usd: 0.01,
    duration_ms: 250,
    model_name: 'gemini-3-pro',
    omitted_turns: 0,
    provider: 'gemini',
    cached_tokens: 700,
    cache_write_tokens: 0,
  }
  const failing = () =>
    given(
      create(),
      claim(),
      by('p1', { type: 'record_retry', reason: 'a secret', delayMs: 0, failure: 'unreachable' }),
      by('p1', {
        type: 'record_retry',
        reason: 'a secret',
        delayMs: 0,
        failure: 'invalid_reply',
        usage: USED,
      }),
      reply(['bash_exec']),
      result('c0', 'bash_exec'),
      check(true),
    ).records

  test('show failed requests without their texts', async () => {
    const records = failing()
    const runId = records[0]?.run_id ?? ''
    const store = memoryStore()
    const prepared = prepare(runId, null, records, { commandId: 'a command' })
    ;(await append(store, prepared))._unsafeUnwrap()
    const spans = await exported(store, 5)
    expect(spans.map(({ name, isError }) => [name, isError])).toEqual([
      ['chat claude-sonnet-4-6', true],
      ['chat gemini-3-pro', true],
      ['chat claude-sonnet-4-6', false],
      ['execute_tool bash_exec', false],
      ['invoke_agent', false],
    ])
    const shared = { 'gen_ai.operation.name': 'chat', 'gen_ai.conversation.id': runId }
    expect(spans[0]?.attributes).toEqual({
      ...shared,
      'gen_ai.request.model': 'claude-sonnet-4-6',
      'error.type': 'unreachable',
    })
    expect(spans[1]?.attributes).toEqual({
      ...shared,
      'gen_ai.request.model': 'gemini-3-pro',
      'gen_ai.provider.name': 'gcp.gemini',
      'gen_ai.usage.input_tokens': 900,
      'gen_ai.usage.output_tokens': 100,
      'gen_ai.usage.cache_read.input_tokens': 700,
      'gen_ai.usage.cache_creation.input_tokens': 0,
      'error.type': 'invalid_reply',
    })
    expect((spans[1]?.to ?? 0n) - (spans[1]?.from ?? 0n)).toBe(250_000_000n)
    expect(spans[0]?.schemaUrl).toBe('https://opentelemetry.io/schemas/1.41.0')
    expect(JSON.stringify(spans, (_, value) => String(value))).not.toContain('secret')
  })
})

describe('an export', () => {
  /** A log of many runs, whose appends are mixed. */
  async function manyRuns() {
    const runs = fc.sample(validAppends(), { numRuns: 15, seed: 31 })
    const store = memoryStore()
    const heads = runs.map((appends) => ({ appends: [...appends], head: null }) as Head)
    for (
      let left = heads;
      left.length > 0;
      left = left.filter(({ appends }) => appends.length > 0)
    ) {
      for (const run of left) {
        const records = run.appends.shift() ?? []
        const prepared = prepare(records[0]?.run_id ?? '', run.head, records, { commandId: 'c' })
        run.head = (await append(store, prepared))._unsafeUnwrap()
      }
    }
    return { store, count: (await exportedUntilSilent(store)).length }
  }
  type Head = { appends: Parameters<typeof prepare>[2][]; head: Parameters<typeof prepare>[1] }

  /** Ends when the cursor is at the last record that has a span: a new run, which is the last of the log, has one. */
  async function exportedUntilSilent(store: EventStore): Promise<readonly ReceivedSpan[]> {
    const { parent } = familyOf()
    await add(store, parent.events)
    await using collector = await Collector.start()
    const traces = await exporting(store, collector)
    const isLast = ({ traceId, name }: ReceivedSpan) =>
      traceId === idOf(parent.runId) && name === 'invoke_agent'
    await vi.waitFor(() => expect(collector.spans.some(isLast)).toBe(true), PATIENCE)
    await traces.stop()
    return collector.spans
  }

  test('equals every other of the same log, and has each span once', async () => {
    const { store, count } = await manyRuns()
    const first = await exported(store, count)
    const second = await exported(store, count)
    expect(first).toHaveLength(count)
    expect(second).toEqual(first)
    const ids = first.map(({ traceId, spanId }) => `${traceId} ${spanId}`)
    expect(new Set(ids).size).toBe(ids.length)
    const roots = new Map(
      first
        .filter(({ name }) => name === 'invoke_agent')
        .map((span) => [span.traceId, span.spanId]),
    )
    for (const { traceId, parentSpanId } of first) {
      if (parentSpanId !== null && roots.has(traceId)) expect(parentSpanId).toBe(roots.get(traceId))
    }
  })

  test('continues after restarts and outages where the collector was, and loses nothing', async () => {
    const { store, count } = await manyRuns()
    const whole = await exported(store, count)
    await using collector = await Collector.start()
    const file = await newFile()
    const start = () => exporting(store, collector, { file })
    collector.status = 503
    let traces = await start()
    await vi.waitFor(() => expect(collector.requests).toBeGreaterThan(3), PATIENCE)
    expect(collector.spans).toEqual([])
    collector.status = 200
    await untilSpans(collector, count)
    await traces.stop()
    expect(collector.spans).toEqual(whole)
    const requests = collector.requests
    traces = await start()
    await add(store, familyOf().subagent.events)
    await untilSpans(collector, count + 3)
    await traces.stop()
    expect(collector.spans).toHaveLength(count + 3)
    expect(collector.requests).toBe(requests + 1)
    expect(collector.spans.slice(0, count)).toEqual(whole)
  })

  test('continues after the records of a run that was removed meanwhile', async () => {
    const { parent, subagent } = familyOf()
    const isUse = ({ type }: { readonly type: string }) => type === 'assistant_message'
    const half = subagent.events.findIndex(isUse) + 1
    const store = await logOf(subagent.events.slice(0, half), parent.events)
    await using collector = await Collector.start()
    const gone = streamOf(parent.runId)
    const file = await newFile()
    let traces = await exporting(store, collector, { file })
    await untilSpans(collector, 4)
    await traces.stop()
    ;(await store.removeStream?.(gone, parent.events.length - 1))?._unsafeUnwrap()
    const rest = { expectedRevision: half - 1 }
    const added = await store.append(streamOf(SUBAGENT_ID), subagent.events.slice(half), rest)
    added._unsafeUnwrap()
    traces = await exporting(store, collector, { file, isGone: (stream) => stream === gone })
    await untilSpans(collector, 6)
    await traces.stop()
    const ids = collector.spans.map(({ spanId }) => spanId)
    expect([ids.length, new Set(ids).size]).toEqual([6, 6])
  })

  test('leaves out what the collector will never take', async () => {
    const store = await logOf(familyOf().parent.events)
    await using collector = await Collector.start()
    collector.status = 400
    const traces = await exporting(store, collector)
    await vi.waitFor(() => expect(collector.requests).toBe(1), PATIENCE)
    collector.status = 200
    await add(store, familyOf().subagent.events)
    await untilSpans(collector, 3)
    await traces.stop()
    const traceIds = collector.spans.map(({ traceId }) => traceId)
    expect(traceIds).toEqual(Array(3).fill(idOf(SUBAGENT_ID)))
  })
})
