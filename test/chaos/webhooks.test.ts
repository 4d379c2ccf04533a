import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { test } from '../support/test.ts'
import { expectAll, seedRuns, serve, subscribe } from '../webhooks/killed-server.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { Random } from './random.ts'

const SEED = Math.floor(Math.random() * 2 ** 32)
/** `WEBHOOK_DELIVERIES=5000` for a shorter one. */
const WANTED = Number(process.env.WEBHOOK_DELIVERIES ?? 100_000)
const RUNS = 100

test(`${WANTED} deliveries through kills and outages: none is lost, none is out of order (seed ${SEED})`, {
  timeout: 1_800_000,
}, async ({ site }) => {
  const random = new Random(SEED)
  // An iteration adds six records or more.
  const runs = await seedRuns(site, RUNS, Math.ceil(WANTED / RUNS / 6))
  const total = [...runs.values()].reduce((sum, length) => sum + length, 0)
  expect(total).toBeGreaterThanOrEqual(WANTED)
  const receiver = await startReceiver(() => (random.chance(0.0005) ? 503 : 200))
  let server = await serve(site)
  await subscribe(server, receiver)
  const began = performance.now()
  const ids = new Set<string>()
  let kills = 0
  for (let seen = 0; ids.size < total; ) {
    const isOut = random.chance(0.2)
    if (isOut) await receiver.close()
    await delay(random.int(100, 4_000))
    await server.kill()
    kills += 1
    if (isOut) await receiver.reopen()
    server = await serve(site)
    for (; seen < receiver.taken.length; seen += 1) ids.add(receiver.taken[seen]?.id ?? '')
  }
  expectAll(receiver.taken, runs)
  const seconds = (performance.now() - began) / 1000
  const again = receiver.taken.length - total
  console.log(`${total} records, ${kills} kills, ${again} received again, ${seconds.toFixed(0)} s`)
})
