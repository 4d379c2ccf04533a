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

const asking = (...tool_calls: PayloadOf<'assistant_message'>['tool_calls']): Step =>
  reply([], 100, 0.01, { tool_calls })

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
function forged(seq: number, change: (data: RunRecord) => unknown): Partial<Evidence> {
  const event = at(events, seq)
  const data = JSON.stringify(change(JSON.parse(event.data)))
  return { events: events.with(seq, { ...event, data }) }
}

/** The history with one payload changed. */
const withPayload = (seq: number, payload: Record<string, unknown>): Partial<Evidence> =>
  forged(seq, (record) => ({ ...record, payload: { ...record.payload, ...payload } }))

const observed = (after: number, texts: readonly string[], complete = false): Observation => {
  return { after, frames: texts, complete }
}
const without = <T>(list: readonly T[], n: number): T[] => list.toSpliced(n, 1)
const at = <T>(list: readonly T[], n: number): T => {
  const item = list[n]
  if (item === undefined) throw new Error(`nothing at ${n}`)
  return item
}

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
  observations: [],
  ledger: [],
  acknowledged: [],
  details: [],
}

/** The history of a run that does not fit that of its sub-agent. */
function disagreeing(changes: Parameters<typeof familyOf>[0]): Evidence {
  const other = familyOf(changes)
  return { ...family, events: other.parent.events, subagents: [other.subagent.events] }
}

const firstResult = at(events, place('tool_result'))
const resumed = { type: 'resumed', seq: humanCheck, decision: 'approve' } as const

/** Histories that must not pass: by the invariant that they violate, what is wrong, and what is other in the evidence. */
const BROKEN: Readonly<Record<string, Readonly<Record<string, Partial<Evidence>>>>> = {
  'seq is dense': {
    'a record is lost': { events: without(events, 5) },
  },
  'the chain of hashes is whole': {
    'a record is lost and the rest moved up': {
      events: without(events, 5).map((event, revision) => ({ ...event, revision })),
    },
    'an event id is another': {
      events: events.with(3, { ...at(events, 3), id: at(events, 4).id }),
    },
  },
  'no record is doubled': {
    'a record is doubled': { events: events.toSpliced(5, 0, at(events, 5)) },
  },
  'appends are stored whole': {
    'a part of an append is missing': { events: without(events, place('assistant_message')) },
  },
  'every record can be read': {
    'a record is no record': forged(4, (r) => ({ ...r, kind: 'gossip' })),
  },
  'all records belong to the run': {
    'a record is of another run': { runId: '11111111-1111-4111-8111-111111111111' },
  },
  'a run begins with run_created': { 'the beginning is cut off': { events: events.slice(1) } },
  'exactly one run_end, at the end': {
    'there is no end': { events: events.slice(0, -1), details: [] },
  },
  'the records fold': {
    'a record comes after the end': { events: [...events, at(events, 2)] },
  },
  'run_end names the true sums': {
    'the end names other sums': withPayload(place('run_end'), { total_tokens: 1 }),
  },
  'each claim is by another process': {
    'a process claims a run again that it has lost': withPayload(place('run_claimed', true), {
      claimant: 'p0',
    }),
  },
  'iterations count up, within their limit': {
    'an iteration is begun beyond the limit': withPayload(0, {
      config: { ...state.config, max_iterations: 1 },
    }),
  },
  'each human check is answered once, by its seq': {
    'an answer names another check': withPayload(place('human_check_response'), { answers: 1 }),
    'a run continues after an abort': withPayload(place('human_check_response'), {
      decision: 'abort',
    }),
  },
  'each message of a person is recorded once, and read before an achieved end': {
    'a message is recorded twice': {
      events: events.toSpliced(place('step_start', true), 0, MESSAGE, MESSAGE),
    },
  },
  'each tool call has one result': {
    'a call has no result': { events: without(events, place('tool_result', true)) },
    'a call has two results': {
      events: events.toSpliced(place('tool_result'), 0, firstResult),
    },
    'a call that was interrupted has an exit code': withPayload(place('tool_result'), {
      exit_code: 0,
    }),
    'a call that only reads was not run again': withPayload(place('tool_call'), {
      read_only: true,
    }),
  },
  'a call that changes something runs at most once': {
    'a call ran twice': { ledger: ['first', 'second', 'first'] },
    'a record says that a call ran, and it did not': { ledger: ['first'] },
  },
  'each sub-agent is started once, and both logs name each other': {
    'a sub-agent was started twice': {
      ...family,
      subagents: [subagent.events, subagent.events],
    },
    'a sub-agent names another record of its parent': disagreeing({
      ofParent: (named) => ({ ...named, seq: 1 }),
    }),
    'a sub-agent continues after its result': {
      ...family,
      subagents: [[...subagent.events, at(subagent.events, 1)]],
    },
  },
  'observers see what is stored': {
    'an observer missed a frame': { observations: [observed(-1, without(frames(ended), 4))] },
    'an observer is disconnected before the end': {
      observations: [observed(-1, frames(ended).slice(0, -1), true)],
    },
  },
  'what was acknowledged is stored': {
    'a promise is broken': { acknowledged: [{ type: 'aborted' }] },
    'two answers to one check are both accepted': { acknowledged: [resumed, resumed] },
  },
  'REST answers what is stored': { 'REST lags behind': { details: [{ status: 'running' }] } },
}

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

  test.each(
    Object.entries(BROKEN).flatMap(([invariant, cases]) =>
      Object.entries(cases).map(([wrong, changed]) => ({ invariant, wrong, changed })),
    ),
  )('$wrong: $invariant', ({ invariant, changed }) => {
    const violated = violations({ ...good, ...changed }).map((violation) => violation.invariant)
    expect(violated).toContain(invariant)
  })

  test('is tested with each invariant', () => {
    expect(INVARIANT_NAMES.filter((name) => !(name in BROKEN))).toEqual([])
  })
})
