import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { eventLine, shownKinds } from '../../src/cli/terminal/event-line.ts'
import { rendered } from '../../src/cli/terminal/print.ts'
import type { AgentEvent } from '../../src/client/index.ts'
import { ALL_KINDS, type Kind, type PayloadOf, RunRecord } from '../../src/domain/records.ts'

const LOGS = fileURLToPath(new URL('../golden/logs', import.meta.url))

const event = <K extends Kind>(kind: K, payload: PayloadOf<K>) =>
  ({
    kind,
    run_id: '550e8400-e29b-41d4-a716-446655440000',
    iteration: 2,
    ts: 1,
    seq: 16,
    payload,
  }) as AgentEvent

const result = (how: Partial<PayloadOf<'tool_result'>>) =>
  event('tool_result', {
    call_id: 'a',
    tool: 'bash_exec',
    output: 'what it\nprinted',
    outcome: 'error',
    exit_code: null,
    bytes: 15,
    truncated: false,
    sha256: null,
    duration_ms: 1,
    ...how,
  })

/** What a line says happened. */
const gist = (event: AgentEvent) => stripVTControlCharacters(rendered(eventLine(event))).slice(31)

test('a result shows how its call ended, even if nothing ran', () => {
  for (const [how, end] of [
    [{ exit_code: 2 }, 'exit 2'],
    [{ outcome: 'not_isolated' }, 'not_isolated'],
    [{ killed_by: 'memory' }, 'error, ended by memory'],
  ] as const) {
    expect(gist(result(how))).toBe(`bash_exec ${end}: what it printed`)
  }
})

test('a check names what was changed of it, and the tests that are gone', () => {
  const tampering = ['a', 'b', 'c\n', 'd', 'e'].map(
    (path) => ({ path, change: 'deleted' }) as const,
  )
  const check = event('goal_check', {
    achieved: true,
    reason: 'All 2 tests passed',
    details: '',
    duration_ms: 1,
    tampering,
    vanished: ['t.py::test_a'],
  })
  expect(gist(check)).toBe(
    'reached: All 2 tests passed; changed since the run began: a (deleted), b (deleted), c (deleted) and 2 more; tests that no longer run: t.py::test_a',
  )
})

test('a failed request shows when the next one begins', () => {
  const retry = event('llm_retry', { attempt: 9, reason: 'Away.', delay_ms: 30_000 })
  expect(gist(retry)).toBe('attempt 9 failed, the next one begins in 30.0 s: Away.')
})

test('if no kinds are chosen, the words of the agent are shown, of a reply without words only its calls, and why a run waits for its model', () => {
  const tool_calls = [{ call_id: 'a', tool: 'bash_exec', args: {} }]
  const reply = (text: string | null) =>
    event('assistant_message', { text, finish_reason: 'stop', tool_calls })
  expect(gist(reply('The marathon\nis 42.16 km.'))).toBe('The marathon is 42.16 km.')
  expect(gist(reply(null))).toBe('calls bash_exec')
  const [said, silent] = [reply('Done.'), reply(' ')]
  const shown = (...of: Parameters<typeof shownKinds>) =>
    [said, silent].map(shownKinds(...of).shows)
  expect(shown(undefined, false)).toEqual([true, false])
  expect(shown(undefined, true)).toEqual([false, false])
  expect(shown(['assistant_message'], false)).toEqual([true, true])
  expect(shown(['goal_check'], false)).toEqual([false, false])
  const asked = (json: boolean) => shownKinds(undefined, json).kinds.includes('llm_retry')
  expect([asked(false), asked(true)]).toEqual([true, false])
})

test('if no kinds are chosen, what people decide is shown, with who decided', () => {
  const rule = { of: 'tool', index: 0 } as const
  const content = { tool: 'request_network', action: 'ask' } as const
  const asks = { call_id: 'a', tool: 'request_network', call_sha256: '0'.repeat(64), rule, content }
  const question = event('approval_required', asks)
  const answer = event('approval_response', {
    decision: 'deny',
    reason: 'Not\nnow',
    answers: 3,
    call_id: 'a',
    call_sha256: '0'.repeat(64),
  })
  const resumed = event('run_resumed', { reason: null, answers: 3 })
  const check = event('human_check_response', { decision: 'approve', reason: null, answers: 3 })
  const meta = { schema: 1, command_id: 'c', prev_hash: '', hash: '', principal: 'ada' }
  const all = [question, answer, resumed, check]
  expect(all.map(shownKinds(undefined, false).shows)).not.toContain(false)
  expect([question, answer, resumed].map((one) => gist({ ...one, meta }))).toEqual([
    'request_network waits. The tool itself asks',
    'ada: deny: Not now',
    'ada: the run continues',
  ])
})

/** The records of runs that earlier versions wrote. */
const golden = readdirSync(LOGS)
  .filter((name) => name.endsWith('.ndjson'))
  .flatMap((name) => readFileSync(join(LOGS, name), 'utf8').trimEnd().split('\n'))
  .map((line) => RunRecord.parse(JSON.parse(line).data))

test.each(ALL_KINDS)('%s has a line of plain words', (kind) => {
  const record = golden.find((one) => one.kind === kind)
  if (record === undefined) throw new Error(`there is no example of ${kind}`)
  const line = stripVTControlCharacters(rendered(eventLine({ ...record, seq: 3 })))
  // The arguments of a call are JSON.
  if (kind === 'tool_call') return
  expect(line.slice(12 + kind.length).trim()).not.toBe('')
  expect(line).not.toMatch(/"\w+":/)
})

test.each([
  ['achieved', 'green'],
  ['failed', 'red'],
] as const)('the end of a run that is %s is %s', (status, style) => {
  const end = golden.find((one) => one.kind === 'run_end')
  if (end?.kind !== 'run_end') throw new Error('there is no example of run_end')
  const line = eventLine({ ...end, payload: { ...end.payload, status }, seq: 3 })
  expect(line.at(-1)).toMatchObject({ style })
})
