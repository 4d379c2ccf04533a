import { describe, expect, test } from 'vitest'
import { FamilyCheck } from '../../../src/audit/verify/family-check.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import type { Origin } from '../../../src/domain/origin.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { claim, create, given } from '../../domain/support.ts'
import { chained } from '../../support/run-records.ts'
import { exported, newKeys, partsOf, verifiedLog, withTaken } from '../support.ts'

const id = (n: number) => `6ba7b810-9dad-41d1-80b4-00c04fd43${String(n).padStart(3, '0')}`
const HASH = 'f'.repeat(64)

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
    ...{ kind, run_id: id(n), seq, hash: made[seq]?.hash ?? HASH },
  })
  return { events: made.map(({ event }) => event), originAt, last: made.length - 1 }
}

const verify = (...runs: readonly (readonly RecordedEvent[])[]) => verifiedLog(runs.flat())

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
    for (const events of [runs, runs.toReversed()].map((all) => all.map((run) => run.events))) {
      const { findings, family } = await verify(...events)
      expect(findings).toEqual([])
      expect(family.origins).toEqual({ compared: 20, redacted: 0 })
    }
  })

  test.each([
    ['another hash', { ...first.originAt(1), hash: HASH }, 'with the hash ffff'],
    ['a record that there is not', first.originAt(99), `which has ${first.last + 1} records`],
  ])('do not hold if they name %s', async (_, origin, message) => {
    const { findings } = await verify(first.events, runOf(1, origin).events)
    expect(findings).toMatchObject([
      {
        ...{ problem: 'family', where: `run ${id(1)}`, seq: 0 },
        message: expect.stringContaining(message),
      },
    ])
  })

  test('do not hold if the other one was dropped, and are not compared if it never was there', async () => {
    const { events } = runOf(1, first.originAt(1))
    expect((await verify(events)).findings).toMatchObject([{ problem: 'missing' }])
    const imported = await verify(events.map((event) => ({ ...event, created: 9e12 })))
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
    const { findings, family } = await verify(redacted, later.events)
    expect(findings).toEqual([])
    expect(family.origins).toEqual({ compared: 1, redacted: 1 })
  })

  test('are compared if their exports are verified together', async () => {
    const keys = await newKeys()
    const ours = await exported(first.events, keys)
    const judge = async (origin: Origin) => {
      const family = new FamilyCheck(false)
      for (const parts of [await exported(runOf(1, origin).events, keys), ours]) {
        expect(await verifyBundle(partsOf(parts), { family })).toMatchObject({ holds: true })
      }
      return family.judge()
    }
    const { findings, report } = await judge(first.originAt(2))
    expect([findings, report.origins]).toEqual([[], { compared: 1, redacted: 0 }])
    const forged = await judge({ ...first.originAt(2), hash: HASH })
    expect(forged.findings).toMatchObject([{ problem: 'family', seq: 0 }])
    const alone = await verifyBundle(
      partsOf(await exported(runOf(1, first.originAt(2)).events, keys)),
    )
    expect(alone.family.not_compared).toHaveLength(1)
  })
})
