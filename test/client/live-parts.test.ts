import { randomUUID } from 'node:crypto'
import { describe, expect, expectTypeOf } from 'vitest'
import {
  type AgentEvent,
  createClient,
  type Part,
  type PartsEnd,
  type PartText,
  partsAfter,
} from '../../src/client/index.ts'
import { LiveParts } from '../../src/live/live-parts.ts'
import { processMask } from '../../src/masking/process-mask.ts'
import { CLAIM, iteration, type TestServer } from '../support/server.ts'
import { testWith } from '../support/test.ts'
import { proxyOf } from './support.ts'

const liveParts = new LiveParts(processMask)

const test = testWith({ liveParts })

async function plannedRun(server: TestServer) {
  const runId = await server.createRun()
  await server.agentDoes(runId, CLAIM)
  return { runId, attempt: liveParts.begin({ runId, goal: 'pytest', iteration: 1, seq: 2 }) }
}

const run_id = randomUUID()
const piece = (offset: number, text: string, changes: object = {}) =>
  ({
    kind: 'part',
    run_id,
    iteration: 1,
    attempt: 4,
    of: 'text',
    offset,
    text,
    partial: true,
    ...changes,
  }) as Part
const step = (seq: number, changes: object = {}) =>
  ({
    kind: 'step_start',
    run_id,
    iteration: 1,
    ts: 1,
    payload: { node: 'act' },
    seq,
    ...changes,
  }) as AgentEvent
const end: PartsEnd = { kind: 'parts_end', run_id, attempt: 4, outcome: 'withdrawn' }
const folded = (...all: Parameters<typeof partsAfter>[1][]) =>
  all.reduce((parts: readonly PartText[], next) => partsAfter(parts, next), [])
const texts = (parts: readonly PartText[]) => parts.map(({ text, lost }) => [lost, text])

describe('texts that are being written', () => {
  test('are joined from their pieces, each under its name', () => {
    const call = { of: 'arguments', call: 0, tool: 'bash_exec' }
    const parts = folded(piece(0, 'I '), piece(0, '{', call), piece(2, 'will'), piece(1, '}', call))
    expect(texts(parts)).toEqual([
      [0, 'I will'],
      [0, '{}'],
    ])
    expect(new Set(parts.map(({ key }) => key)).size).toBe(2)
  })

  test('report what is lost, and start again after a lost connection', () => {
    expect(texts(folded(piece(0, 'one'), piece(90, 'two')))).toEqual([[90, 'two']])
    expect(texts(folded(piece(0, 'one'), piece(0, 'one two')))).toEqual([[0, 'one two']])
  })

  test('are replaced by the next record that concerns them', () => {
    const usage = step(5, { kind: 'llm_usage' })
    expect(folded(piece(0, 'one'), step(4), usage)).toHaveLength(1)
    expect(folded(piece(0, 'one'), step(5, { run_id: randomUUID() }))).toHaveLength(1)
    expect(folded(piece(0, 'one'), step(5))).toEqual([])
  })

  test('end with their attempt', () => {
    expect(folded(piece(0, 'one'), piece(0, 'x', { attempt: 9 }), end)).toHaveLength(1)
    expect(folded(piece(0, 'one'), { ...end, attempt: 3 })).toHaveLength(1)
  })
})

describe('a watch with live: true', () => {
  test('yields parts among the events, with types', async ({ server }) => {
    const { runId, attempt } = await plannedRun(server)
    attempt.write({ of: 'text' }, 'I will\n')
    const watched = createClient({ baseUrl: server.url }).watch(runId, {
      kinds: ['assistant_message'],
      live: true,
    })
    expectTypeOf(watched).toEqualTypeOf<
      AsyncGenerator<AgentEvent<'assistant_message'> | Part | PartsEnd, void, undefined>
    >()
    const seen: string[] = []
    for await (const next of watched) {
      seen.push(next.kind)
      if (next.kind === 'part') {
        expect(next.text).toBe('I will\n')
        await server.agentDoes(runId, ...iteration(true))
      }
    }
    expect(seen).toEqual(['part', 'assistant_message', 'parts_end'])
  })

  test('yields each text once after a lost connection', async ({ server }) => {
    const { runId, attempt } = await plannedRun(server)
    const proxy = await proxyOf(server.port)
    attempt.write({ of: 'text' }, 'one\n')
    const client = createClient({ baseUrl: proxy.url, limits: { retryMs: [1, 4] } })
    let parts: readonly PartText[] = []
    let connections = 0
    const onState = (state: string) => {
      if (state === 'live') connections += 1
    }
    for await (const next of client.watch(runId, { live: true, onState })) {
      parts = partsAfter(parts, next)
      if (next.kind !== 'part') continue
      if (connections === 1) {
        expect(texts(parts)).toEqual([[0, 'one\n']])
        proxy.cut()
        attempt.write({ of: 'text' }, 'two\n')
      } else if (parts[0]?.text === 'one\ntwo\n') break
    }
    expect(texts(parts)).toEqual([[0, 'one\ntwo\n']])
  })
})
