import { Readable } from 'node:stream'
import { ok } from 'neverthrow'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type LedgerName, ledgerStream } from '../../../src/api/audit.ts'
import { eventLine } from '../../../src/audit/bundle/record-lines.ts'
import { AnyEntry, ledgerLines, ledgerPages } from '../../../src/audit/ledgers.ts'
import { unsignedEntry, verifyLedgerLines } from '../../../src/audit/verify/verify-ledger.ts'
import { decideAndAppend } from '../../../src/log/decider.ts'
import type { Signing } from '../../../src/log/entry-seal.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { openTemporaryStore } from '../../store/embedded/support.ts'
import { newSigning } from '../../support/signing.ts'

const { sign, keys } = newSigning()

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
  verifyLedgerLines('tokens', Readable.from([Buffer.from(text)]), keys, () => {})

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

describe('the entries of a ledger are signed', () => {
  const entry = (n: number) => ({ kind: 'made', ts: n, payload: { name: `token ${n}` } })
  const other = newSigning()

  /** A ledger to which these signers, or nobody, have added two entries each. */
  async function signedBy(
    name: LedgerName,
    ...signers: readonly (Signing | null)[]
  ): Promise<RecordedEvent[]> {
    const { store, close } = await openTemporaryStore()
    onTestFinished(close)
    const ledger = {
      ...{ stream: ledgerStream(name), schema: AnyEntry, initial: null, evolve: () => null },
      ...(name === 'access' ? { sealedTogether: true as const } : {}),
    }
    for (const [at, sign] of signers.entries()) {
      const entries = ok([entry(2 * at), entry(2 * at + 1)])
      const options = sign === null ? {} : { sign }
      const author = { commandId: `c${at}` }
      ;(await decideAndAppend(store, ledger, () => entries, author, options))._unsafeUnwrap()
    }
    const events: RecordedEvent[] = []
    for await (const page of ledgerPages(store, name)) events.push(...page._unsafeUnwrap())
    return events
  }
  /** What is found, and where. */
  async function found(name: LedgerName, events: readonly RecordedEvent[], most?: number) {
    const body = Readable.from([Buffer.from(textOf(events))])
    const { end, bad } = await verifyLedgerLines(name, body, keys, () => {})
    const problem = bad ?? unsignedEntry(end, most)
    return problem === null ? 'holds' : `${problem.problem} ${problem.seq}`
  }

  test.each(['tokens', 'access'] as const)(
    'of %s: none is signed after one that is',
    async (name) => {
      const holds = [[], [sign], [sign, sign], [null], [null, sign, sign]]
      for (const signers of holds) {
        expect(await found(name, await signedBy(name, ...signers))).toBe('holds')
      }
      expect(await found(name, await signedBy(name, sign, null))).toBe('signature 2')
      expect(await found(name, await signedBy(name, null, sign, null, sign))).toBe('signature 4')
    },
  )

  test('and by a published key, each by itself, except in the access log', async () => {
    const events = await signedBy('tokens', other.sign)
    expect(await found('tokens', events)).toBe('signature 0')
    const together = await signedBy('access', sign)
    expect(together.map(({ metadata }) => metadata.includes('"seal"'))).toEqual([false, true])
    const moved = together.map((event) => ({ ...event, stream: ledgerStream('tokens') }))
    expect(await found('tokens', moved)).toBe('signature 1')
  })

  test('as many are unsigned as a checkpoint says, so the first redaction of a log cannot be forged', async () => {
    const old = await signedBy('redactions', null)
    expect([await found('redactions', old), await found('redactions', old, 2)]).toEqual([
      'holds',
      'holds',
    ])
    expect(await found('redactions', old, 0)).toBe('signature 0')
    expect(await found('redactions', await signedBy('redactions', null, sign), 1)).toBe(
      'signature 1',
    )
  })

  test('so nobody takes a signature away or puts it elsewhere', async () => {
    const events = await signedBy('tokens', sign, sign)
    const sealOf = ({ metadata }: RecordedEvent): string =>
      /,"seal":.*(?=\}$)/.exec(metadata)?.[0] ?? ''
    const [first, second] = events
    if (first === undefined || second === undefined) throw new Error('there are no entries')
    const bare = { ...first, metadata: first.metadata.replace(sealOf(first), '') }
    const swapped = { ...first, metadata: first.metadata.replace(sealOf(first), sealOf(second)) }
    expect(await found('tokens', [swapped, ...events.slice(1)])).toBe('signature 0')
    expect(await found('tokens', [bare, ...events.slice(1)], 0)).toBe('signature 0')
    const last = events.at(-1)
    if (last === undefined) throw new Error('there is no last entry')
    const cut = { ...last, metadata: last.metadata.replace(sealOf(last), '') }
    expect(await found('tokens', [...events.slice(0, -1), cut])).toBe('signature 3')
  })
})
