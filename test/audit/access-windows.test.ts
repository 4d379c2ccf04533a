import { expect, test } from 'vitest'
import { type Access, AccessWindows } from '../../src/audit/access-windows.ts'
import { AccessEntry } from '../../src/domain/access.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'

const access = (changes: Partial<Access> = {}): Access =>
  ({
    kind: 'run_read',
    run_id: RUN,
    principal: 'alice',
    client: '10.0.0.7',
    operation: 'getRun',
    asked: '',
    ...changes,
  }) as Access
const stranger = (client: string): Access =>
  access({ kind: 'access_refused', principal: null, client, status: 401, asked: 'x=1' })

function windows() {
  const entries: AccessEntry[] = []
  const made = new AccessWindows((entry) => entries.push(AccessEntry.parse(entry)))
  return { entries, made }
}

/** The count and the times of an entry. */
const gist = ({ payload: { count, first_ts, last_ts } }: AccessEntry) => [count, first_ts, last_ts]

test('the first access is an entry at once; equal ones after it are one entry a minute', () => {
  const { entries, made } = windows()
  for (let second = 0; second < 180; second += 1) {
    made.closeOld(second)
    made.add(access(), second)
  }
  expect(entries.map(gist)).toEqual([
    [1, 0, 0],
    [59, 1, 59],
    [60, 60, 119],
  ])
  made.closeAll(180)
  expect(entries.map(gist).at(-1)).toEqual([60, 120, 179])
  expect(entries.reduce((sum, { payload }) => sum + payload.count, 0)).toBe(180)
})

test('if the clock is set back, what was counted is written at once, with times that include all of it', () => {
  const { entries, made } = windows()
  made.add(access(), 7_200)
  made.add(access(), 7_201)
  made.add(access(), 3_600)
  made.closeOld(3_601)
  made.add(access(), 3_602)
  made.closeOld(3_661)
  expect(entries.map(gist)).toEqual([
    [1, 7_200, 7_200],
    [2, 3_600, 7_201],
    [1, 3_602, 3_602],
  ])
})

test('accesses with another principal, client, run or operation are separate entries', () => {
  const { entries, made } = windows()
  made.add(access(), 0)
  for (const other of [
    access({ principal: 'bob' }),
    access({ client: '10.0.0.8' }),
    access({ run_id: null }),
    access({ operation: 'diffRun' }),
    access({ kind: 'run_watched' }),
  ]) {
    made.add(other, 1)
  }
  expect(entries).toHaveLength(6)
})

test('an entry has the last query, however often that changes', () => {
  const { entries, made } = windows()
  for (let n = 0; n < 5_000; n += 1) {
    made.closeOld(n / 100)
    made.add(access({ asked: `at=${n}` }), n / 100)
  }
  made.closeAll(60)
  expect(entries.map(({ payload }) => payload)).toMatchObject([
    { asked: 'at=0', count: 1 },
    { asked: 'at=4999', count: 4_999 },
  ])
})

test('watches that are counted together report the record that the furthest one reached', () => {
  const { entries, made } = windows()
  const ended = (last: number | null, seconds: number) =>
    access({ kind: 'watch_ended', last, seconds })
  made.add(ended(99, 1), 0)
  for (const [last, seconds] of [
    [3, 2],
    [41, 5],
    [null, 0],
    [7, 1],
  ] as const) {
    made.add(ended(last, seconds), 1)
  }
  made.closeAll(2)
  expect(entries[0]?.payload).toMatchObject({ count: 1, last: 99, seconds: 1 })
  expect(entries[1]?.payload).toMatchObject({ count: 4, last: 41, seconds: 8 })
})

test('unknown clients are distinguished by their address, up to a limit', () => {
  const { entries, made } = windows()
  for (let n = 0; n < 5000; n += 1) {
    made.add(stranger(`10.1.${n % 250}.1`), 0)
    made.add({ ...stranger(`10.1.${n % 250}.1`), operation: 'abortRun', run_id: null }, 0)
  }
  expect(entries).toHaveLength(101)
  expect(entries[0]?.payload).toMatchObject({ run_id: null, principal: null, asked: '' })
  expect(
    entries.filter(({ payload }) => 'client' in payload && payload.client === null),
  ).toHaveLength(1)
  made.add(access(), 0)
  expect(entries).toHaveLength(102)
  made.closeAll(1)
  expect(entries.reduce((sum, { payload }) => sum + payload.count, 0)).toBe(10_001)
  made.add(stranger('10.2.0.1'), 2)
  expect(entries.at(-1)?.payload).toMatchObject({ client: '10.2.0.1' })
})

test('many different accesses do not fill the memory, and each is written', () => {
  const { entries, made } = windows()
  for (let n = 0; n < 12_000; n += 1) {
    made.add(access({ principal: `p${n}` }), n / 1000)
    made.add(access({ principal: `p${n}` }), n / 1000)
  }
  made.closeAll(30)
  expect(entries.reduce((sum, { payload }) => sum + payload.count, 0)).toBe(24_000)
})
