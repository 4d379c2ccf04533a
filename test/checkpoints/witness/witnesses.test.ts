import { errAsync } from 'neverthrow'
import { expect, onTestFinished, test } from 'vitest'
import { storeWith } from '../../../src/store/event-store.ts'
import { memoryStore } from '../../support/memory-store.ts'
import { until } from '../../support/site.ts'
import { openNote, SpecWitness, signaturesBy } from '../../support/spec-witness.ts'
import { Checkpointing, untilSeen } from './support.ts'

async function witnessOf(server: Checkpointing, name?: string): Promise<SpecWitness> {
  const witness = await SpecWitness.open(name)
  onTestFinished(() => witness.close())
  witness.logs = [await server.key()]
  return witness
}

test('a witness that was written from the specification signs what this server shows, and its signature is kept', async () => {
  const server = await Checkpointing.open()
  const witness = await witnessOf(server)
  await server.write(3)
  const witnesses = server.witnesses([witness])
  await untilSeen(witnesses, 1, 3)
  await server.write(4)
  await server.writeSeen(witnesses)
  const note = await server.note()
  expect(signaturesBy(note, witness.key)).toEqual({ count: 1, good: true })
  expect(signaturesBy(note, await server.key())).toEqual({ count: 1, good: true })
  expect(witnesses.state()).toMatchObject({
    quorum: { needed: 1, seen: 1, holds: true },
    witnesses: [{ name: witness.name, size: 8, problem: null }],
  })
  await witnesses.stop()
  const { requests } = witness
  server.restart()
  expect(await server.note()).toBe(note)
  const again = server.witnesses([witness])
  await untilSeen(again, 1, 8)
  expect(witness.requests).toBe(requests)
})

test('if the witness knows a size that this server does not, it is asked again from there', async () => {
  const server = await Checkpointing.open()
  const witness = await witnessOf(server)
  await server.write(3)
  const silent = storeWith(server.store, {
    append: () => errAsync({ type: 'store_unavailable', message: 'away' }),
  })
  const first = server.witnesses([witness], { store: silent })
  await untilSeen(first, 1, 3)
  await first.stop()
  // The signature was lost with the process.
  server.restart()
  expect(openNote(await server.note()).signatures).toHaveLength(1)
  await server.write(2)
  const second = server.witnesses([witness])
  await untilSeen(second, 1, 5)
  expect(openNote(await server.note()).signatures).toHaveLength(2)
})

test('outage, slowness and lies of some witnesses change nothing for the others', async () => {
  const server = await Checkpointing.open()
  const [good, slow, liar, away] = await Promise.all(
    ['good', 'slow', 'liar', 'away'].map((name) => witnessOf(server, `witness.example/${name}`)),
  )
  if (!good || !slow || !liar || !away) throw new Error('no witnesses')
  await away.close()
  const { promise: slept, resolve: wake } = Promise.withResolvers<void>()
  slow.lie = async (honest) => {
    await slept
    return honest()
  }
  const forged = liar.cosign('another text\n')
  const lies = [
    { status: 200, body: forged },
    { status: 200, body: '' },
    { status: 200, body: '— x y\n'.repeat(5_000) },
    { status: 409, body: '999999\n' },
    { status: 409, body: 'many\n' },
    { status: 409, body: '1\n' },
    { status: 422, body: '' },
    { status: 500, body: 'x'.repeat(1_000) },
    { status: 302, body: '' },
  ]
  liar.lie = () => lies[liar.requests % lies.length] ?? { status: 500, body: '' }
  const witnesses = server.witnesses([good, slow, liar, away], { quorum: 1 })
  const { origin } = server.ownLog
  for (let size = 1; size <= 10; size += 1) await server.writeSeen(witnesses)
  await until(
    () => liar.requests,
    (count) => count > 2 * lies.length,
  )
  expect(server.ownLog.origin).toBe(origin)
  const note = await server.note()
  expect(openNote(note).signatures.map(({ name }) => name)).toEqual([origin, good.name])
  const { quorum, witnesses: all } = witnesses.state()
  expect(quorum).toEqual({ needed: 1, seen: 1, holds: true })
  expect(all.slice(1).every(({ size }) => size === null)).toBe(true)
  expect(all[3]?.problem).toContain('cannot be reached')
  wake()
})

test('a witness that comes back gets what it has missed', async () => {
  const server = await Checkpointing.open()
  const witness = await witnessOf(server)
  let isAway = true
  witness.lie = (honest) => (isAway ? { status: 503, body: 'later' } : honest())
  await server.write(2)
  const witnesses = server.witnesses([witness], { lateMs: 20 })
  await until(
    () => witnesses.isLate,
    (isLate) => isLate,
  )
  expect(server.logged).toContainEqual({
    level: 'warn',
    message: 'too few witnesses see the checkpoints',
  })
  isAway = false
  await untilSeen(witnesses, 1, 2)
  await until(
    () => witnesses.isLate,
    (isLate) => !isLate,
  )
})

test('the last checkpoint is offered when the server stops', async () => {
  const server = await Checkpointing.open()
  const witness = await witnessOf(server)
  await server.write(1)
  const witnesses = server.witnesses([witness])
  await untilSeen(witnesses, 1, 1)
  await server.write(1)
  // Nobody has told the witnesses.
  await witnesses.stop()
  expect(witness.seen.get(server.ownLog.origin)?.size).toBe(2)
  server.restart()
  expect(signaturesBy(await server.note(), witness.key).good).toBe(true)
})

test('after a rotation, notes have both signatures until all witnesses know the new key', async () => {
  const server = await Checkpointing.open()
  ;(await server.keyring.setWitnessed(true))._unsafeUnwrap()
  const old = await server.key()
  const one = await witnessOf(server, 'w/1')
  const two = await witnessOf(server, 'w/2')
  await server.write(1)
  const witnesses = server.witnesses([one, two])
  await untilSeen(witnesses, 2, 1)
  ;(await server.keyring.rotate())._unsafeUnwrap()
  const next = await server.key()
  const noted = async () => {
    const note = await server.note()
    return [signaturesBy(note, old).good, signaturesBy(note, next).good]
  }
  await server.writeSeen(witnesses, 2)
  expect(await noted()).toEqual([true, true])
  one.logs.push(next)
  await server.writeSeen(witnesses, 2)
  expect(await noted()).toEqual([true, true])
  // A restart between forgets nothing.
  await witnesses.stop()
  server.restart()
  const again = server.witnesses([one, two])
  two.logs = [next]
  await server.writeSeen(again, 2)
  await until(noted, ([isOld]) => isOld === false)
  expect(await noted()).toEqual([false, true])
})

/** A log as it was after some checkpoints of another one. */
async function putBack(server: Checkpointing, size: number): Promise<Checkpointing> {
  const store = memoryStore()
  for (const stream of ['retrai-log', 'retrai-checkpoints', 'retrai-cosignatures']) {
    const read = await server.store.readStream(stream, {
      from: 0,
      direction: 'forward',
      limit: 4_000,
    })
    const events = read
      .unwrapOr([])
      .filter(({ revision }) => stream === 'retrai-log' || revision < 2 * size)
    if (events.length === 0) continue
    ;(await store.append(stream, events, { expectedRevision: 'no_stream' }))._unsafeUnwrap()
  }
  const opened = await Checkpointing.open(store, server.keyring)
  for (const run of [...server.runs.values()].slice(0, size)) opened.runs.set(run.run_id, run)
  return opened
}

/** Such a log after 4 of 6 checkpoints, all of which these witnesses have seen. */
async function putBackAfter(all: (server: Checkpointing) => Promise<readonly SpecWitness[]>) {
  const server = await Checkpointing.open()
  const witnesses = await all(server)
  await server.write(6)
  const first = server.witnesses(witnesses)
  await untilSeen(first, witnesses.length, 6)
  await first.stop()
  return { older: await putBack(server, 4), witnesses }
}
const oneWitness = async (server: Checkpointing) => [await witnessOf(server)]

const untilFormer = ({ ownLog }: Checkpointing) =>
  until(
    () => ownLog.former,
    (former) => former.length > 0,
  )

test('if a witness has seen a larger tree, the server takes another id, and names the old one', async () => {
  const { older, witnesses: all } = await putBackAfter(oneWitness)
  const [witness] = all
  if (witness === undefined) throw new Error('no witness')
  const before = (await older.head()).origin
  const witnesses = older.witnesses(all)
  await untilFormer(older)
  expect(older.ownLog.former).toEqual([{ origin: before, size: 6 }])
  expect(older.ownLog.origin).not.toBe(before)
  await until(
    () => witnesses.state().witnesses[0]?.problem ?? '',
    (problem) => problem.includes('does not know this log'),
  )
  witness.logs.push(await older.key())
  await untilSeen(witnesses, 1, 4)
  expect(witness.seen.get(before)?.size).toBe(6)
  expect(older.logged).toContainEqual({
    level: 'warn',
    message: expect.stringContaining('put back'),
  })
  await witnesses.stop()
  older.restart()
  expect(await older.head()).toMatchObject({ size: 4 })
  expect(older.ownLog.former).toEqual([{ origin: before, size: 6 }])
})

test('the same if the log that was put back has grown beyond what the witness has seen', async () => {
  const { older, witnesses } = await putBackAfter(oneWitness)
  await older.write(5, 'b')
  const before = (await older.head()).origin
  older.witnesses(witnesses)
  await untilFormer(older)
  expect(older.ownLog.former).toMatchObject([{ origin: before }])
})

test('of three witnesses, one that claims a larger tree is believed only if it shows that', async () => {
  const names = ['w/1', 'w/2', 'w/3']
  const { older, witnesses: all } = await putBackAfter((server) =>
    Promise.all(names.map((name) => witnessOf(server, name))),
  )
  const { origin } = await older.head()
  // Two have not seen the later ones.
  for (const each of all.slice(1)) each.seen.delete(origin)
  const [liar] = all
  if (liar === undefined) throw new Error('no witness')
  const claims = older.witnesses(all, { quorum: 2 })
  await untilSeen(claims, 2, 4)
  expect(older.ownLog.origin).toBe(origin)
  await claims.stop()
  const note = liar.seen.get(origin)?.note ?? ''
  liar.lie = (honest) => {
    const answer = honest()
    return answer.status === 404 ? { status: 200, body: note } : answer
  }
  older.witnesses(all, { quorum: 2 })
  await untilFormer(older)
  expect(older.ownLog.former).toEqual([{ origin, size: 6 }])
})

test('whatever witnesses do and however often the server is restarted, nothing is lost, and honest ones see all in the end', async () => {
  const server = await Checkpointing.open()
  const all = await Promise.all(['w/1', 'w/2', 'w/3', 'w/4'].map((name) => witnessOf(server, name)))
  const honest = all.slice(0, 3)
  // Numbers of a fixed sequence, so a failure can be repeated.
  let state = 7
  const random = (below: number): number => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
  let isCalm = false
  for (const witness of all) {
    const isHonest = honest.includes(witness)
    witness.lie = async (answer) => {
      const mood = isCalm && isHonest ? 9 : random(10)
      if (mood === 0) return { status: 503, body: 'busy' }
      if (mood === 1) await new Promise((resolve) => setTimeout(resolve, random(60)))
      // It has kept the tree, and its answer is lost.
      if (mood === 2) return { ...answer(), status: 500, body: 'lost' }
      if (isHonest) return answer()
      const lies = [
        { status: 409, body: `${random(1_000)}\n` },
        { status: 422, body: 'no' },
        { status: 200, body: witness.cosign('x\n') },
        { ...answer(), body: witness.cosign(`${server.ownLog.origin}\n1\n${'A'.repeat(43)}=\n`) },
      ]
      return lies[random(lies.length)] ?? answer()
    }
  }
  const { origin } = await server.head()
  let witnesses = server.witnesses(all, { quorum: 2 })
  for (let size = 1; size <= 40; size += 1) {
    await server.write(1)
    witnesses.notice()
    await new Promise((resolve) => setTimeout(resolve, random(20)))
    if (random(8) > 0) continue
    await witnesses.stop()
    server.restart()
    witnesses = server.witnesses(all, { quorum: 2 })
  }
  isCalm = true
  await untilSeen(witnesses, 3, 40)
  expect(witnesses.state().quorum).toMatchObject({ holds: true })
  const head = await server.head()
  expect(head).toMatchObject({ origin, size: 40 })
  for (const each of honest) {
    expect(each.seen.get(origin)?.root.equals(head.root)).toBe(true)
    expect(signaturesBy(await server.note(), each.key).good).toBe(true)
  }
  await witnesses.stop()
  server.restart()
  for (const each of honest) {
    expect(signaturesBy(await server.note(), each.key)).toEqual({ count: 1, good: true })
  }
})
