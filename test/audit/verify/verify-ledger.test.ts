import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { type LedgerName, ledgerStream } from '../../../src/api/audit.ts'
import { ledgerLines } from '../../../src/audit/ledgers.ts'
import { eventLine } from '../../../src/audit/stored-events.ts'
import type { Signer } from '../../../src/log/chain.ts'
import { chain, emptyStream } from '../../../src/log/decider.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { newSigning } from '../../support/signing.ts'
import { readerOf } from '../support.ts'
import { verifiedLedger } from '../verified-ledger.ts'

const { signer: sign, keys } = newSigning()

const entry = (n: number) => ({ kind: 'made', ts: n, payload: { name: `token ${n}` } })

/** A ledger to which these signers, or nobody, have added some entries each. */
function signedBy(
  name: LedgerName,
  signers: readonly (Signer | null)[],
  count = 2,
): RecordedEvent[] {
  const stream = ledgerStream(name)
  const together = name === 'access' ? { sealedTogether: true as const } : {}
  const ledger = { stream, ...together, initial: null, evolve: () => null }
  let after = emptyStream(ledger)
  const events: RecordedEvent[] = []
  for (const signer of signers) {
    const from = events.length
    const entries = Array.from({ length: count }, (_, n) => entry(from + n))
    const made = chain(ledger, after, entries, { commandId: 'c' }, signer)
    after = made.after
    for (const [at, event] of made.events.entries()) {
      events.push({ ...event, stream, revision: from + at, position: '', created: 0 })
    }
  }
  return events
}
/** Ten entries, as they are stored. */
const stored = () => signedBy('tokens', [null], 10)
const textOf = (events: readonly RecordedEvent[]): string =>
  events.map((event) => `${eventLine(event, 'checksummed')}\n`).join('')
const verify = (text: string) => verifiedLedger('tokens', Readable.from([Buffer.from(text)]), keys)

test('a whole ledger holds, and an empty one', async () => {
  const lines = await Readable.from(ledgerLines(readerOf(stored()), 'tokens')).toArray()
  expect(await verify(Buffer.concat(lines).toString())).toMatchObject({ bad: null, length: 10 })
  expect(await verify(textOf(stored()))).toMatchObject({ bad: null, length: 10 })
  expect(await verify('')).toMatchObject({ bad: null, length: 0 })
})

test('entries that are dropped, doubled, swapped or of another ledger are named', async () => {
  const events = stored()
  const other = stored()
  const at = (n: number): RecordedEvent[] => events.slice(n, n + 1)
  const cases = [
    [events.toSpliced(4, 1), 'missing', 4],
    [events.toSpliced(4, 0, ...at(3)), 'added', 4],
    [events.toSpliced(4, 2, ...at(5), ...at(4)), 'missing', 4],
    [events.toSpliced(4, 1, ...other.slice(4, 5)), 'unlinked', 4],
    [other.slice(0, 4).concat(events.slice(4)), 'unlinked', 4],
  ] as const
  for (const [changed, problem, seq] of cases) {
    expect(await verify(textOf(changed))).toMatchObject({ bad: { problem, seq }, length: seq })
  }
})

test('any changed byte is found, and its line named', async () => {
  const text = Buffer.from(textOf(stored()))
  const lines = text.toString().split('\n')
  for (let at = 0; at < text.length; at += 23) {
    const changed = Buffer.from(text)
    changed.writeUInt8(text.readUInt8(at) ^ 1, at)
    const { bad } = await verify(changed.toString('latin1'))
    const line = text.subarray(0, at).toString().split('\n').length - 1
    expect(bad?.seq, `byte ${at}: ${lines[line]}`).toBe(line)
  }
})

describe('the entries of a ledger are signed', () => {
  const other = newSigning()
  /** What is found, and where. */
  async function found(name: LedgerName, events: readonly RecordedEvent[], most?: number) {
    const body = Readable.from([Buffer.from(textOf(events))])
    const { bad } = await verifiedLedger(name, body, keys, most)
    return bad === null ? 'holds' : `${bad.problem} ${bad.seq}`
  }

  test.each(['tokens', 'access'] as const)(
    'of %s: none is signed after one that is',
    async (name) => {
      const holds = [[], [sign], [sign, sign], [null], [null, sign, sign]]
      for (const signers of holds) {
        expect(await found(name, signedBy(name, signers))).toBe('holds')
      }
      expect(await found(name, signedBy(name, [sign, null]))).toBe('signature 2')
      expect(await found(name, signedBy(name, [null, sign, null, sign]))).toBe('signature 4')
    },
  )

  test('and by a published key, each by itself, except in the access log', async () => {
    const events = signedBy('tokens', [other.signer])
    expect(await found('tokens', events)).toBe('signature 0')
    const together = signedBy('access', [sign])
    expect(together.map(({ metadata }) => metadata.includes('"seal"'))).toEqual([false, true])
    const moved = together.map((event) => ({ ...event, stream: ledgerStream('tokens') }))
    expect(await found('tokens', moved)).toBe('signature 1')
  })

  test('as many are unsigned as a checkpoint says, so the first redaction of a log cannot be forged', async () => {
    const old = signedBy('redactions', [null])
    expect([await found('redactions', old), await found('redactions', old, 2)]).toEqual([
      'holds',
      'holds',
    ])
    expect(await found('redactions', old, 0)).toBe('signature 0')
    expect(await found('redactions', signedBy('redactions', [null, sign]), 1)).toBe('signature 1')
  })

  test('so nobody takes a signature away or puts it elsewhere', async () => {
    const events = signedBy('tokens', [sign, sign])
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
