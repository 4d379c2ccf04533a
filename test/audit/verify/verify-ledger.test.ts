import { Readable } from 'node:stream'
import { ok } from 'neverthrow'
import { expect, onTestFinished, test } from 'vitest'
import { eventLine } from '../../../src/audit/bundle/record-lines.ts'
import { AnyEntry, ledgerLines, ledgerPages } from '../../../src/audit/ledgers.ts'
import { verifyLedgerLines } from '../../../src/audit/verify/verify-ledger.ts'
import { decideAndAppend } from '../../../src/log/decider.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { openTemporaryStore } from '../../store/embedded/support.ts'

/** Ten entries, as they are stored. */
async function stored(): Promise<RecordedEvent[]> {
  const { store, close } = await openTemporaryStore()
  onTestFinished(close)
  const ledger = { stream: 'retrai-tokens', schema: AnyEntry, initial: null, evolve: () => null }
  const entries = Array.from({ length: 10 }, (_, n) => ({
    kind: 'made',
    ts: n,
    payload: { name: `token ${n}` },
  }))
  ;(await decideAndAppend(store, ledger, () => ok(entries), { commandId: 'c' }))._unsafeUnwrap()
  const whole = await Readable.from(ledgerLines(store, 'tokens')).toArray()
  const events: RecordedEvent[] = []
  for await (const page of ledgerPages(store, 'tokens')) events.push(...page._unsafeUnwrap())
  expect(Buffer.concat(whole).toString()).toBe(textOf(events))
  return events
}
const textOf = (events: readonly RecordedEvent[]): string =>
  events.map((event) => `${eventLine(event, 'checksummed')}\n`).join('')
const verify = (text: string) =>
  verifyLedgerLines('tokens', Readable.from([Buffer.from(text)]), () => {})

test('a whole ledger holds, and an empty one', async () => {
  expect(await verify(textOf(await stored()))).toMatchObject({ bad: null, end: { length: 10 } })
  expect(await verify('')).toMatchObject({ bad: null, end: { length: 0 } })
})

test('entries that are dropped, doubled, swapped or of another ledger are named', async () => {
  const events = await stored()
  const other = await stored()
  const at = (n: number): RecordedEvent[] => events.slice(n, n + 1)
  const cases = [
    [events.toSpliced(4, 1), 'missing', 4],
    [events.toSpliced(4, 0, ...at(3)), 'added', 4],
    [events.toSpliced(4, 2, ...at(5), ...at(4)), 'missing', 4],
    [events.toSpliced(4, 1, ...other.slice(4, 5)), 'unlinked', 4],
    [other.slice(0, 4).concat(events.slice(4)), 'unlinked', 4],
  ] as const
  for (const [changed, problem, seq] of cases) {
    const { bad, end } = await verify(textOf(changed))
    expect(bad).toMatchObject({ problem, seq })
    expect(end.length).toBe(seq)
  }
})

test('an entry is named, whatever part of it was changed', async () => {
  const events = await stored()
  const changes: ((event: RecordedEvent) => Partial<RecordedEvent>)[] = [
    ({ data }) => ({ data: data.replace('token 6', 'token 7') }),
    ({ data }) => ({ data: data.replace('"ts":6', '"ts":7') }),
    ({ data }) => ({ data: data.replace('"made"', '"gone"') }),
    ({ metadata }) => ({ metadata: metadata.replace('"command_id":"c"', '"command_id":"d"') }),
    ({ metadata }) => ({ metadata: metadata.replace('{', '{"principal":"eve",') }),
    ({ id }) => ({ id: id.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')) }),
    () => ({ type: 'gone' }),
  ]
  for (const change of changes) {
    const changed = events.map((event) =>
      event.revision === 6 ? { ...event, ...change(event) } : event,
    )
    expect(textOf(changed)).not.toBe(textOf(events))
    expect((await verify(textOf(changed))).bad).toMatchObject({ problem: 'changed', seq: 6 })
  }
})

test('any changed byte is found, and its line named', async () => {
  const text = Buffer.from(textOf(await stored()))
  const lines = text.toString().split('\n')
  for (let at = 0; at < text.length; at += 7) {
    const changed = Buffer.from(text)
    changed.writeUInt8(text.readUInt8(at) ^ 1, at)
    const { bad } = await verify(changed.toString('latin1'))
    const line = text.subarray(0, at).toString().split('\n').length - 1
    expect(bad?.seq, `byte ${at}: ${lines[line]}`).toBe(line)
  }
})
