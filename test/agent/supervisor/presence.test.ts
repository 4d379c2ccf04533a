import { errAsync } from 'neverthrow'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Presence } from '../../../src/agent/supervisor/presence.ts'
import type { EventStore } from '../../../src/store/event-store.ts'
import { openTemporaryStore } from '../../store/embedded/support.ts'

const AWAY = { type: 'store_unavailable', message: 'it is away' } as const

/** Starts a process that always works, on this store; returns what it logs. */
async function present(change: (store: EventStore) => void): Promise<string[]> {
  const { store, close } = await openTemporaryStore()
  change(store)
  const logged: string[] = []
  const note = (_fields: object, message: string) => logged.push(message)
  const presence = new Presence({
    store,
    claimant: 'me',
    leaseMs: 40,
    atWork: () => true,
    pool: null,
    onOrphaned: () => {},
    onDeserted: () => {},
    log: { info: note, warn: note },
  })
  presence.start([])
  onTestFinished(async () => {
    await presence.stop()
    await close()
  })
  return logged
}

test('a heartbeat that cannot be stored is logged once per outage, and repeated', async () => {
  const logged = await present((store) => {
    vi.spyOn(store, 'append')
      .mockReturnValueOnce(errAsync(AWAY))
      .mockReturnValueOnce(errAsync(AWAY))
  })
  await vi.waitFor(() => expect(logged).toHaveLength(2), 20_000)
  expect(logged).toEqual([
    'this server cannot write its heartbeat: other servers may take over its runs',
    'the heartbeat of this server is written again',
  ])
})

test('the store is asked to drop old heartbeats, and a refusal is logged', async () => {
  const keepLatest = vi.fn(() => errAsync(AWAY))
  const logged = await present((store) => Object.assign(store, { keepLatest }))
  await vi.waitFor(() => expect(logged).toHaveLength(1), 20_000)
  expect(keepLatest).toHaveBeenCalledExactlyOnceWith('retrai-servers', 1024)
  expect(logged[0]).toContain('set $maxCount of the stream retrai-servers to 1024')
})

test('a broken subscription to the heartbeats is renewed', async () => {
  let subscriptions = 0
  const logged = await present((store) => {
    const real = store.subscribeStream.bind(store)
    vi.spyOn(store, 'subscribeStream').mockImplementation((stream, options) => {
      subscriptions += 1
      if (subscriptions === 1) throw new Error('it broke')
      return real(stream, options)
    })
  })
  await vi.waitFor(() => expect(subscriptions).toBe(2), 20_000)
  expect(logged).toContain('the heartbeats of other servers cannot be followed: retrying')
})
