import { describe, expect, test } from 'vitest'
import { FamilyCheck } from '../../../src/audit/verify/family-check.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import type { Kind, PayloadOf, RunRecord } from '../../../src/domain/records.ts'
import type { Origin, Parent, SubagentEnd } from '../../../src/domain/related-runs.ts'
import { hashOfCall } from '../../../src/log/commitment.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { by, claim, create, given, reply, result } from '../../domain/support.ts'
import { familyOf, SUBAGENT_ID, siblingsOf } from '../../support/family.ts'
import { chained } from '../../support/run-records.ts'
import { exported, newKeys, partsOf, verifiedLog, withTaken } from '../support.ts'

const { parent, subagent } = familyOf()
const PARENT_ID = parent.runId
const HASH = 'f'.repeat(64)
const OTHER_ID = '6ba7b811-9dad-41d1-80b4-00c04fd430c8'

const keys = await newKeys()
/** What is found if the exports of these runs, which hold by themselves, are verified together. */
async function together(...runs: readonly (readonly RecordedEvent[])[]) {
  const family = new FamilyCheck(false)
  for (const events of runs) {
    const parts = await exported(events, keys)
    expect(await verifyBundle(partsOf(parts), { family })).toMatchObject({ holds: true })
  }
  return family.judge()
}

/** A finding about a run. */
const found = (runId: string, message: string, more: object = {}) => ({
  where: `run ${runId}`,
  message: expect.stringContaining(message),
  ...more,
})

const eventsOf = ({ parent, subagent }: ReturnType<typeof familyOf>) => [
  ...parent.events,
  ...subagent.events,
]

describe('a run and the run of its sub-agent', () => {
  test('hold if they agree, in any order', async () => {
    for (const events of [
      [...parent.events, ...subagent.events],
      [...subagent.events, ...parent.events],
    ]) {
      const { findings, family } = await verifiedLog(events)
      expect(findings).toEqual([])
      expect(family).toEqual({ compared: 1, not_compared: [] })
    }
  })

  test('hold if one reply started two sub-agents, each with the instructions of its own call', async () => {
    const { findings, family } = await verifiedLog(siblingsOf())
    expect(findings).toEqual([])
    expect(family).toEqual({ compared: 2, not_compared: [] })
    const swapped = await verifiedLog(siblingsOf(['Write.', 'Read.']))
    expect(swapped.findings).toHaveLength(2)
    expect(swapped.findings[0]?.message).toContain('its instructions are not those of the call')
  })

  test.each<[string, Partial<Parent>, string]>([
    ['record', { seq: 3 }, 'which starts no run'],
    ['hash', { hash: HASH }, 'the hash ffff'],
    ['call', { call_id: 'c7' }, 'the call c7'],
    ['depth', { depth: 2 }, 'the depth 2'],
  ])('do not hold if the sub-agent names another %s as its start', async (_, named, message) => {
    const { findings } = await verifiedLog(
      eventsOf(familyOf({ ofParent: (it) => ({ ...it, ...named }) })),
    )
    expect(findings).toContainEqual(found(SUBAGENT_ID, message, { problem: 'family', seq: 0 }))
  })

  test.each<[string, Partial<SubagentEnd>, string]>([
    ['a later record', { seq: 99 }, 'which has'],
    ['an earlier record', { seq: 2 }, 'record 2 of'],
    ['another last record', { hash: HASH }, 'the hash ffff'],
    ['another end', { status: 'failed' }, 'the status failed'],
  ])('do not hold if the end of the sub-agent names %s', async (_, named, message) => {
    const family = familyOf({ ofEnd: (it) => ({ ...it, ...named }) })
    const { findings } = await verifiedLog(eventsOf(family))
    const seq = family.parent.events.findLastIndex(({ type }) => type === 'tool_result')
    expect(findings).toContainEqual(found(PARENT_ID, message, { problem: 'family', seq }))
  })

  test.each<[string, (record: RunRecord) => RunRecord, string]>([
    [
      'the configuration',
      of('subagent_started', (it) => ({ config: { ...it.config, model_name: 'x' } })),
      'configuration',
    ],
    [
      'the configuration',
      of('run_created', (it) => (it.parent ? { config: { ...it.config, max_tokens: 1 } } : {})),
      'configuration',
    ],
    [
      'the instructions',
      of('run_created', (it) => (it.parent ? { instructions: 'Steal.' } : {})),
      'instructions',
    ],
    [
      'which run is started',
      of('subagent_started', () => ({ run_id: OTHER_ID })),
      `there it is ${OTHER_ID}`,
    ],
    [
      'who started it',
      of('run_created', (it) => (it.parent ? { parent: { ...it.parent, run_id: OTHER_ID } } : {})),
      'does not name it as its start',
    ],
    [
      'which run has ended',
      of('tool_result', (it) =>
        it.subagent ? { subagent: { ...it.subagent, run_id: OTHER_ID } } : {},
      ),
      'was dropped',
    ],
  ])(
    'do not hold if %s is rewritten with all that comes after it',
    async (_, ofRecord, message) => {
      const { findings } = await verifiedLog(eventsOf(familyOf({ ofRecord })))
      expect(findings.map(({ problem, message: text }) => `${problem} ${text}`).join()).toMatch(
        message,
      )
    },
  )

  test('do not hold if one of them was dropped', async () => {
    const orphan = await verifiedLog(subagent.events)
    const missing = found(SUBAGENT_ID, `run ${PARENT_ID}`, { problem: 'missing', seq: 0 })
    expect(orphan.findings).toMatchObject([missing])
    const alone = await verifiedLog(parent.events)
    expect(alone.findings).toMatchObject([{ problem: 'missing', where: `run ${PARENT_ID}` }])
  })

  test('are not compared if the other run was imported without this one', async () => {
    const imported = parent.events.map((event) => ({ ...event, created: 9e12 }))
    const { findings, family } = await verifiedLog(imported)
    expect(findings).toEqual([])
    expect(family.compared).toBe(0)
    expect(family.not_compared).toMatchObject([
      { run_id: PARENT_ID, why: expect.stringContaining('imported') },
    ])
  })

  test('are not compared if the sub-agent may never have been created', async () => {
    const started = parent.events.findIndex(({ type }) => type === 'subagent_started')
    const { findings, family } = await verifiedLog(parent.events.slice(0, started + 1))
    expect(findings).toEqual([])
    expect(family.not_compared).toMatchObject([
      { seq: started, why: expect.stringContaining('never created') },
    ])
  })

  test('do not hold if a run names a record that started another run', async () => {
    const twin = chained(
      OTHER_ID,
      subagent.records.map((record) => ({ ...record, run_id: OTHER_ID })),
    )
    const events = [...parent.events, ...subagent.events, ...twin.map(({ event }) => event)]
    const { findings } = await verifiedLog(events)
    expect(findings).toMatchObject([found(OTHER_ID, `there it is ${SUBAGENT_ID}`, { seq: 0 })])
  })

  test('do not hold if the named run was started by a person', async () => {
    const born = subagent.records.map((record) => {
      if (record.kind !== 'run_created') return record
      const { parent: _, ...payload } = record.payload
      return { ...record, payload }
    })
    const events = chained(SUBAGENT_ID, born).map(({ event }) => event)
    const { findings } = await verifiedLog([...parent.events, ...events])
    expect(findings).toMatchObject([found(PARENT_ID, 'does not name it as its start')])
  })
})

/** Changes the payload of records of one kind. */
function of<K extends Kind>(kind: K, change: (payload: PayloadOf<K>) => object) {
  return (record: RunRecord): RunRecord => {
    if (record.kind !== kind) return record
    const payload = record.payload as PayloadOf<K>
    return { ...record, payload: { ...payload, ...change(payload) } } as RunRecord
  }
}

test('exports are compared if they are verified together; otherwise the report says that they were not', async () => {
  const alone = await verifyBundle(partsOf(await exported(parent.events, keys)))
  expect(alone).toMatchObject({ holds: true, family: { compared: 0 } })
  expect(alone.family.not_compared).toHaveLength(1)
  const report = { compared: 1, not_compared: [] }
  expect(await together(parent.events, subagent.events)).toEqual({ findings: [], report })
  const altered = familyOf({ ofEnd: (it) => ({ ...it, status: 'failed' }) })
  const { findings } = await together(altered.parent.events, subagent.events)
  expect(findings).toMatchObject([{ problem: 'family' }])
})

describe('the answer of a person', () => {
  const RULE = { tool: 'bash_exec', action: 'ask', by: 'other_than_starter' } as const
  const callSha256 = hashOfCall({ call_id: 'c0', tool: 'bash_exec', args: {} })
  const verdict = {
    action: 'ask',
    rule: { of: 'run', index: 0, content: RULE },
    doubt: null,
  } as const
  const review = by('p1', { type: 'record_review', callId: 'c0', callSha256, verdict })
  const asked = [create({ approvals: [RULE] }), claim(), reply(['bash_exec']), review]
  const answers = given(...asked).state?.seq ?? 0
  const rest = { reason: null, answers, callSha256 }
  const answer = { type: 'answer_approval', decision: 'allow', ...rest } as const
  const { records } = given(
    ...asked,
    answer,
    by('p1', { type: 'proceed' }),
    result('c0', 'bash_exec'),
  )

  /** @param shown the hash of the question that the answer names; left out: the one that it has */
  function history({
    shown,
    who = 'bob',
    change = (it: RunRecord) => it,
  }: {
    readonly shown?: string
    readonly who?: string | null
    readonly change?: (record: RunRecord) => RunRecord
  }) {
    const principalOf = ({ kind }: RunRecord) =>
      kind === 'run_created'
        ? 'alice'
        : kind === 'approval_response'
          ? (who ?? undefined)
          : undefined
    const altered = records.map(change)
    const events = chained(PARENT_ID, altered, 0, undefined, principalOf)
    const named = of('approval_response', () => ({ shown_sha256: shown ?? events[answers]?.hash }))
    return chained(PARENT_ID, altered.map(named), 0, undefined, principalOf).map(
      ({ event }) => event,
    )
  }

  test('holds if it names the question and the call, and comes from somebody who may answer', async () => {
    expect((await verifiedLog(history({}))).findings).toEqual([])
  })

  test.each<[string, Parameters<typeof history>[0], number, string]>([
    ['names another question', { shown: HASH }, answers + 1, 'names the hash'],
    ['comes from who started the run', { who: 'alice' }, answers + 1, 'somebody other than'],
    ['comes from nobody', { who: null }, answers + 1, 'somebody other than'],
    [
      'is about another call than the one that waits',
      {
        change: (it) =>
          of('approval_required', () => ({ call_sha256: HASH }))(
            of('approval_response', () => ({ call_sha256: HASH }))(it),
          ),
      },
      answers,
      'of the call',
    ],
  ])('does not hold if it %s', async (_, lie, seq, message) => {
    const { findings } = await verifiedLog(history(lie))
    expect(findings).toMatchObject([found(PARENT_ID, message, { problem: 'impossible', seq })])
  })
})

const id = (n: number) => `6ba7b810-9dad-41d1-80b4-00c04fd43${String(n).padStart(3, '0')}`

/** The events of a run that a person aborts; and its last record, or another one, for a run that begins from it. */
function runOf(n: number, origin?: Origin, instructions = 'Secret.') {
  const created = create()
  if (created.type !== 'create') throw new Error('a run is created')
  const born = { ...created, runId: id(n), instructions }
  const { records } = given(
    origin === undefined ? born : { ...born, origin, taken_over: { introduced: false } },
    claim(),
    { type: 'abort', reason: null },
  )
  const made = chained(id(n), records)
  const originAt = (seq: number, kind: Origin['kind'] = 'fork'): Origin => ({
    kind,
    run_id: id(n),
    seq,
    hash: made[seq]?.hash ?? HASH,
  })
  return { events: made.map(({ event }) => event), originAt, last: made.length - 1 }
}

describe('runs that begin from others', () => {
  const first = runOf(0)

  test('hold 20 deep, in any order', async () => {
    const runs = [first]
    for (let n = 1; n <= 20; n += 1) {
      const before = runs[n - 1] ?? first
      runs.push(
        runOf(n, n % 2 === 0 ? before.originAt(1) : before.originAt(before.last, 'continue')),
      )
    }
    for (const events of [runs, runs.toReversed()].map((all) => all.flatMap((run) => run.events))) {
      const { findings, family } = await verifiedLog(events)
      expect(findings).toEqual([])
      expect(family.origins).toEqual({ compared: 20, redacted: 0 })
    }
  })

  test.each([
    ['another hash', { ...first.originAt(1), hash: HASH }, 'with the hash ffff'],
    ['a record that there is not', first.originAt(99), `which has ${first.last + 1} records`],
  ])('do not hold if they name %s', async (_, origin, message) => {
    const { findings } = await verifiedLog([...first.events, ...runOf(1, origin).events])
    expect(findings).toMatchObject([found(id(1), message, { problem: 'family', seq: 0 })])
  })

  test('do not hold if the other one was dropped, and are not compared if it never was there', async () => {
    const { events } = runOf(1, first.originAt(1))
    expect((await verifiedLog(events)).findings).toMatchObject([{ problem: 'missing' }])
    const imported = await verifiedLog(events.map((event) => ({ ...event, created: 9e12 })))
    expect(imported.findings).toEqual([])
    expect(imported.family.not_compared).toMatchObject([
      {
        run_id: id(1),
        why: expect.stringContaining('from whose record 1 it begins, is not here'),
      },
    ])
  })

  test('say how many of them begin from redacted texts', async () => {
    const redacted = withTaken(first.events, [{ seq: 0, pointer: '/instructions' }])
    const later = runOf(1, first.originAt(1))
    const { findings, family } = await verifiedLog([...redacted, ...later.events])
    expect(findings).toEqual([])
    expect(family.origins).toEqual({ compared: 1, redacted: 1 })
  })

  test('are compared if their exports are verified together', async () => {
    const judge = (origin: Origin) => together(first.events, runOf(1, origin).events)
    const { findings, report } = await judge(first.originAt(2))
    expect([findings, report.origins]).toEqual([[], { compared: 1, redacted: 0 }])
    const forged = await judge({ ...first.originAt(2), hash: HASH })
    expect(forged.findings).toMatchObject([{ problem: 'family', seq: 0 }])
    const parts = await exported(runOf(1, first.originAt(2)).events, keys)
    expect((await verifyBundle(partsOf(parts))).family.not_compared).toHaveLength(1)
  })
})
