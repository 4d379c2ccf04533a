import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fold } from '../../src/domain/evolve.ts'
import type { PayloadOf, RunRecord } from '../../src/domain/records.ts'
import { runDetails } from '../../src/queries/run-details.ts'
import { by, check, claim, create, given, reply, result, type Step } from '../domain/support.ts'
import { prepare } from '../support/append-records.ts'
import { familyOf } from '../support/family.ts'
import { validAppends } from '../support/run-records.ts'
import type { Evidence, Observation, StoredEvent } from './evidence.ts'
import { INVARIANT_NAMES, violations } from './invariants.ts'
import { leaves } from './ledger.ts'

const CALL = { call_id: 'c0', tool: 'bash_exec', args: { command: leaves('first') } }

const asking = (...calls: PayloadOf<'assistant_message'>['tool_calls']): Step => {
  const asked = reply()
  if (asked.type !== 'record_reply') throw new Error('a reply is recorded')
  return { ...asked, message: { ...asked.message, tool_calls: calls } }
}

/** The death of a server interrupts a call, a person approves, and another call follows. */
const ended = given(
  create({ hitl_enabled: true }),
  claim('p0'),
  by('p0', { type: 'record_retry', reason: 'HTTP 529', delayMs: 1 }),
  { ...asking(CALL), claimant: 'p0' } as Step,
  claim('p1', 'p0'),
  check(false),
  { type: 'respond', decision: 'approve', reason: null, answers: null },
  by('p1', { type: 'proceed' }),
  asking({ ...CALL, args: { command: leaves('second') } }),
  result('c0', 'bash_exec'),
  { type: 'configure', changes: { max_iterations: 2 } },
  check(true),
).records
const runId = ended[0]?.run_id ?? ''

/** Events as the server stores them: chained, and each append with its own command. */
function stored(records: readonly RunRecord[], command = 'one'): StoredEvent[] {
  let before: Parameters<typeof prepare>[1] = null
  return records.flatMap((record, revision) => {
    const id = record.kind === 'run_created' ? 'created' : command
    const prepared = prepare(record.run_id, before, [record], { commandId: id })
    before = prepared.after
    return prepared.events.map((event) => ({ revision, ...event }))
  })
}

const frames = (records: readonly RunRecord[]) =>
  records.map((record, seq) => JSON.stringify({ ...record, seq }))

const state = fold(ended)
if (state === null) throw new Error('the records do not fold')
const events = stored(ended)
const humanCheck = ended.findIndex(({ kind }) => kind === 'human_check_required')
const good: Evidence = {
  runId,
  events,
  observations: [
    { after: -1, frames: frames(ended), complete: true },
    { after: 3, frames: frames(ended).slice(4, 9), complete: false },
  ],
  ledger: ['first', 'second'],
  acknowledged: [
    { type: 'created' },
    { type: 'resumed', seq: humanCheck, decision: 'approve' },
    { type: 'configured', changes: { max_iterations: 2 } },
  ],
  settled: true,
  details: [runDetails(state)],
}

const place = (kind: RunRecord['kind'], last = false): number =>
  ended[last ? 'findLastIndex' : 'findIndex']((record) => record.kind === kind)

/** The stored events, with the data of one record changed as a forger would change it. */
function forged(seq: number, change: (data: RunRecord) => unknown): StoredEvent[] {
  return events.map((event) =>
    event.revision === seq
      ? { ...event, data: JSON.stringify(change(JSON.parse(event.data))) }
      : event,
  )
}

/** The history with one payload changed. */
function withPayload(seq: number, payload: Record<string, unknown>): Evidence {
  const copy = events.map((event, n) => {
    if (n !== seq) return event
    const record = JSON.parse(event.data)
    return {
      ...event,
      data: JSON.stringify({ ...record, payload: { ...record.payload, ...payload } }),
    }
  })
  return { ...good, events: copy }
}

const observed = (after: number, texts: readonly string[], complete = false): Observation => {
  return { after, frames: texts, complete }
}
const without = <T>(list: readonly T[], n: number): T[] => list.toSpliced(n, 1)
const at = <T>(list: readonly T[], n: number): T => {
  const item = list[n]
  if (item === undefined) throw new Error(`nothing at ${n}`)
  return item
}

/** Histories that must not pass: what is wrong, the invariant that it violates, and the evidence. */
const stepStart = at(events, place('step_start'))
const MESSAGE: typeof stepStart = {
  ...stepStart,
  type: 'user_message',
  data: JSON.stringify({
    ...JSON.parse(stepStart.data),
    kind: 'user_message',
    payload: { text: 'Hurry.', idempotency: { key: 'k', request_sha256: '' } },
  }),
}

/** A run whose sub-agent was aborted. */
const { parent, subagent } = familyOf()
const family: Evidence = {
  ...good,
  events: parent.events,
  subagents: [subagent.events],
  ...{ observations: [], ledger: [], acknowledged: [], details: [] },
}
const FAMILY = 'each sub-agent is started once, and both logs name each other'

/** The history of a run that does not fit that of its sub-agent. */
function disagreeing(changes: Parameters<typeof familyOf>[0]): Evidence {
  const other = familyOf(changes)
  return { ...family, events: other.parent.events, subagents: [other.subagent.events] }
}

const BROKEN: readonly (readonly [string, string, Evidence])[] = [
  ['a record is lost', 'seq is dense', { ...good, events: without(events, 5) }],
  [
    'a record is lost and the rest moved up',
    'the chain of hashes is whole',
    { ...good, events: without(events, 5).map((event, revision) => ({ ...event, revision })) },
  ],
  [
    'a record is doubled',
    'no record is doubled',
    { ...good, events: events.toSpliced(5, 0, at(events, 5)) },
  ],
  [
    'an append is stored again later',
    'no record is doubled',
    {
      ...good,
      events: events.map((event) => {
        const other = JSON.stringify({ ...JSON.parse(event.metadata), command_id: 'other' })
        return event.revision === 5 ? { ...event, metadata: other } : event
      }),
    },
  ],
  [
    'a part of an append is missing',
    'appends are stored whole',
    { ...good, events: without(events, place('assistant_message')) },
  ],
  [
    'two records have changed places',
    'seq is dense',
    { ...good, events: events.with(5, at(events, 6)).with(6, at(events, 5)) },
  ],
  [
    'a text is altered',
    'the chain of hashes is whole',
    { ...good, events: forged(place('goal_check'), (r) => ({ ...r, ts: r.ts + 1 })) },
  ],
  [
    'an event id is another',
    'the chain of hashes is whole',
    { ...good, events: events.with(3, { ...at(events, 3), id: at(events, 4).id }) },
  ],
  [
    'a record is no record',
    'every record can be read',
    { ...good, events: forged(4, (r) => ({ ...r, kind: 'gossip' })) },
  ],
  [
    'a record is of another run',
    'all records belong to the run',
    { ...good, runId: '11111111-1111-4111-8111-111111111111' },
  ],
  [
    'the beginning is cut off',
    'a run begins with run_created',
    { ...good, events: events.slice(1) },
  ],
  [
    'there is no end',
    'exactly one run_end, at the end',
    { ...good, events: events.slice(0, -1), details: [] },
  ],
  [
    'there are two ends',
    'exactly one run_end, at the end',
    { ...good, events: [...events, at(events, -1 + events.length)] },
  ],
  [
    'a record comes after the end',
    'the records fold',
    { ...good, events: [...events, at(events, 2)] },
  ],
  [
    'the end names other sums',
    'run_end names the true sums',
    withPayload(place('run_end'), { total_tokens: 1 }),
  ],
  [
    'a process claims a run again that it has lost',
    'each claim is by another process',
    withPayload(place('run_claimed', true), { claimant: 'p0' }),
  ],
  [
    'no process has claimed the run',
    'each claim is by another process',
    { ...good, events: without(without(events, place('run_claimed', true)), place('run_claimed')) },
  ],
  [
    'an iteration is begun beyond the limit',
    'iterations count up, within their limit',
    withPayload(0, { config: { ...state.config, max_iterations: 1 } }),
  ],
  [
    'an iteration is counted twice',
    'iterations count up, within their limit',
    { ...good, events: forged(place('iteration_complete', true), (r) => ({ ...r, iteration: 1 })) },
  ],
  [
    'an answer names another check',
    'each human check is answered once, by its seq',
    withPayload(place('human_check_response'), { answers: 1 }),
  ],
  [
    'a check is not answered',
    'each human check is answered once, by its seq',
    { ...good, events: without(events, place('human_check_response')) },
  ],
  [
    'a run continues after an abort',
    'each human check is answered once, by its seq',
    withPayload(place('human_check_response'), { decision: 'abort' }),
  ],
  [
    'a message is recorded twice',
    'each message of a person is recorded once, and read before an achieved end',
    { ...good, events: events.toSpliced(place('step_start', true), 0, MESSAGE, MESSAGE) },
  ],
  [
    'a call has no result',
    'each tool call has one result',
    { ...good, events: without(events, place('tool_result', true)) },
  ],
  [
    'a call has two results',
    'each tool call has one result',
    {
      ...good,
      events: events.toSpliced(place('tool_result'), 0, at(events, place('tool_result'))),
    },
  ],
  [
    'the model did not request a call',
    'each tool call has one result',
    withPayload(place('assistant_message'), { tool_calls: [] }),
  ],
  [
    'a call that was interrupted has an exit code',
    'each tool call has one result',
    withPayload(place('tool_result'), { exit_code: 0 }),
  ],
  [
    'the outcome of a call is unknown without a reason',
    'each tool call has one result',
    withPayload(place('tool_result', true), { outcome: 'unknown', exit_code: null }),
  ],
  [
    'a call that only reads was not run again',
    'each tool call has one result',
    withPayload(place('tool_call'), { read_only: true }),
  ],
  [
    'a call ran twice',
    'a call that changes something runs at most once',
    { ...good, ledger: ['first', 'second', 'first'] },
  ],
  [
    'a call ran that no record announces',
    'a call that changes something runs at most once',
    { ...good, ledger: ['first', 'second', 'third'] },
  ],
  [
    'a record says that a call ran, and it did not',
    'a call that changes something runs at most once',
    { ...good, ledger: ['first'] },
  ],
  ['a sub-agent was never started', FAMILY, { ...family, subagents: [] }],
  [
    'a sub-agent was started twice',
    FAMILY,
    { ...family, subagents: [subagent.events, subagent.events] },
  ],
  [
    'a sub-agent names another record of its parent',
    FAMILY,
    disagreeing({ ofParent: (named) => ({ ...named, seq: 1 }) }),
  ],
  [
    'the result of a sub-agent names another hash',
    FAMILY,
    disagreeing({ ofEnd: (end) => ({ ...end, hash: 'a'.repeat(64) }) }),
  ],
  [
    'a sub-agent continues after its result',
    FAMILY,
    {
      ...family,
      subagents: [[...subagent.events, at(subagent.events, 1)]],
    },
  ],
  [
    'an observer missed a frame',
    'observers see what is stored',
    { ...good, observations: [observed(-1, without(frames(ended), 4))] },
  ],
  [
    'an observer saw a frame twice',
    'observers see what is stored',
    {
      ...good,
      observations: [
        observed(
          1,
          [2, 3, 3].map((n) => at(frames(ended), n)),
        ),
      ],
    },
  ],
  [
    'an observer saw a record that is gone',
    'observers see what is stored',
    { ...good, observations: [observed(events.length - 1, [at(frames(ended), 3)])] },
  ],
  [
    'an observer is disconnected before the end',
    'observers see what is stored',
    { ...good, observations: [observed(-1, frames(ended).slice(0, -1), true)] },
  ],
  [
    'a promise is broken',
    'what was acknowledged is stored',
    { ...good, acknowledged: [{ type: 'aborted' }] },
  ],
  [
    'two answers to one check are both accepted',
    'what was acknowledged is stored',
    {
      ...good,
      acknowledged: [1, 2].map(() => ({ type: 'resumed', seq: humanCheck, decision: 'approve' })),
    },
  ],
  [
    'REST lags behind',
    'REST answers what is stored',
    { ...good, details: [{ status: 'running' }] },
  ],
]

const violated = (evidence: Evidence): string[] =>
  violations(evidence).map(({ invariant }) => invariant)

describe('the checker of invariants', () => {
  test('finds nothing in a whole history', () => {
    expect([good, family].flatMap(violations)).toEqual([])
  })

  test('finds nothing in what the domain writes', () => {
    fc.assert(
      fc.property(validAppends(), (appends) => {
        const records = appends.flat()
        const evidence: Evidence = {
          runId: at(records, 0).run_id,
          events: stored(records),
          observations: [{ after: -1, frames: frames(records), complete: true }],
          ledger: [],
          acknowledged: [{ type: 'created' }],
          settled: records.at(-1)?.kind === 'run_end',
          details: [],
        }
        expect(violations(evidence)).toEqual([])
      }),
      { numRuns: 50 },
    )
  })

  test.each(BROKEN)('%s: %s', (_, invariant, evidence) => {
    expect(violated(evidence)).toContain(invariant)
  })

  test('is tested with each invariant', () => {
    const tested = new Set(BROKEN.map(([, invariant]) => invariant))
    expect(INVARIANT_NAMES.filter((name) => !tested.has(name))).toEqual([])
  })
})
