import { err, ok } from 'neverthrow'
import { beforeEach, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { GENESIS, recordHash } from '../../src/log/chain.ts'
import { decodeAs, type Logged } from '../../src/log/codec.ts'
import {
  decideAndAppend,
  emptyStream,
  foldStream,
  type StreamDefinition,
} from '../../src/log/decider.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { append, readAll } from '../store/contract/support.ts'
import { memoryStore } from '../support/memory-store.ts'

const Added = z.strictObject({
  kind: z.literal('added'),
  ts: z.number(),
  payload: z.strictObject({ name: z.string() }),
})
type Added = z.infer<typeof Added>

const names: StreamDefinition<Added, readonly string[]> = {
  stream: 'retrai-names',
  schema: Added,
  initial: [],
  evolve: (state, { record }) => [...state, record.payload.name],
}
const added = (name: string): Added => ({ kind: 'added', ts: 1, payload: { name } })
const author = { commandId: 'c1', principal: 'alice' }

let store: EventStore
beforeEach(() => {
  store = memoryStore()
})

const extend = (...entries: Added[]) => decideAndAppend(store, names, () => ok(entries), author)
const stateNow = async () => (await foldStream(store, names))._unsafeUnwrap().state

test('a ledger without entries is empty', async () => {
  expect((await foldStream(store, names))._unsafeUnwrap()).toEqual(emptyStream(names))
  expect((await extend())._unsafeUnwrap()).toEqual(emptyStream(names))
})

test('entries are chained, and name their writer', async () => {
  ;(await extend(added('a'), added('b')))._unsafeUnwrap()
  const after = (await extend(added('c')))._unsafeUnwrap()
  let head = GENESIS
  for (const event of await readAll(store, names.stream)) {
    const { seq, record, meta } = decodeAs(Added, event)._unsafeUnwrap()
    const { hash, ...unsigned } = meta
    expect(meta.principal).toBe('alice')
    expect(meta.prev_hash).toBe(head)
    expect(recordHash(seq, record, unsigned)).toBe(hash)
    head = hash
  }
  expect(after).toEqual({ revision: 2, head, state: ['a', 'b', 'c'] })
})

test('when many write at once, each adds its entry once, and decides on the entries before it', async () => {
  const unlessThere = (name: string) => (state: readonly string[]) =>
    state.includes(name) ? err('taken' as const) : ok([added(name)])
  const outcomes = await Promise.all(
    ['a', 'b', 'a', 'c', 'b', 'a'].map((name) =>
      decideAndAppend(store, names, unlessThere(name), author),
    ),
  )
  expect(outcomes.filter((outcome) => outcome.isErr())).toHaveLength(3)
  expect((await stateNow()).toSorted()).toEqual(['a', 'b', 'c'])
})

test('a writer whose stream was lost or cut off by the store gives up at once', async () => {
  const known = (await extend(added('one'), added('two')))._unsafeUnwrap()
  const lost: StreamDefinition<Added, readonly string[]> = { ...names, stream: 'retrai-lost' }
  const appends = vi.spyOn(store, 'append')
  const options = { from: known, isCurrent: true }
  const refused = await decideAndAppend(store, lost, () => ok([added('three')]), author, options)
  expect(refused._unsafeUnwrapErr()).toMatchObject({
    type: 'wrong_expected_revision',
    actual: 'no_stream',
  })
  expect(appends).toHaveBeenCalledOnce()
})

test('a writer that knows the present state reads the stream only after a conflict', async () => {
  const seen: string[] = []
  const visit = ({ record }: Logged<Added>) => seen.push(record.payload.name)
  const from = (await extend(added('a')))._unsafeUnwrap()
  const read = vi.spyOn(store, 'readStream')
  const decide = (state: readonly string[]) => ok([added(`after ${state.at(-1)}`)])
  const options = { from, isCurrent: true, visit }
  const after = (await decideAndAppend(store, names, decide, author, options))._unsafeUnwrap()
  expect(read).not.toHaveBeenCalled()
  expect(after.state).toEqual(['a', 'after a'])
  const again = (await decideAndAppend(store, names, decide, author, options))._unsafeUnwrap()
  expect(read).toHaveBeenCalled()
  expect(again.state).toEqual(['a', 'after a', 'after after a'])
  expect(seen).toEqual(['after a', 'after a', 'after after a'])
})

test('a fold ends at a revision, or where its visitor stops it', async () => {
  ;(await extend(added('a'), added('b'), added('c')))._unsafeUnwrap()
  const upTo = (await foldStream(store, names, { to: 1 }))._unsafeUnwrap()
  expect(upTo).toMatchObject({ revision: 1, state: ['a', 'b'] })
  const visit = ({ record }: Logged<Added>) => (record.payload.name === 'b' ? 'stop' : null)
  expect((await foldStream(store, names, { visit }))._unsafeUnwrap()).toEqual(upTo)
})

test('an entry of another ledger breaks the chain, and the error names it', async () => {
  ;(await extend(added('a'), added('b')))._unsafeUnwrap()
  const other = memoryStore()
  const three = () => ok([added('x'), added('y'), added('z')])
  ;(await decideAndAppend(other, names, three, author))._unsafeUnwrap()
  await append(store, names.stream, (await readAll(other, names.stream)).slice(2), 1)
  expect((await foldStream(store, names))._unsafeUnwrapErr()).toMatchObject({
    type: 'damaged_record',
    stream: 'retrai-names',
    seq: 2,
    message: 'its prev_hash is not the hash of the record before it',
  })
})
