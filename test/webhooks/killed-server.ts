import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { NewWebhookView } from '../../src/api/webhooks.ts'
import { ALL_KINDS } from '../../src/domain/records.ts'
import { SampleRun } from '../console/support/sample-run.ts'
import { configOf, seed } from '../console/support/seed.ts'
import type { ServeOptions, Site, SiteServer } from '../support/site.ts'
import { type Delivery, type Receiver, seqsByRun } from './receiver.ts'

const START = 1_770_000_000
const env = { RETRAI_WEBHOOK_HOSTS: '127.0.0.1' }

/** Ended runs in the log of a data folder. @returns how many records each has */
export async function seedRuns(site: Site, runs: number, iterations: number) {
  const samples = Array.from({ length: runs }, () => {
    const run = new SampleRun(randomUUID(), configOf({ max_iterations: iterations + 1 }), START)
    const check = { achieved: false, reason: 'Not yet' }
    for (let n = 0; n < iterations; n += 1) run.iterate({ text: 'On it.', calls: [], check })
    return run.abort('enough')
  })
  await seed(site.path('data'), samples)
  return new Map(samples.map(({ records }) => [records[0]?.run_id ?? '', records.length] as const))
}

export const serve = (site: Site, options: ServeOptions = {}): Promise<SiteServer> =>
  site.serve('data', { ...options, env })

/** A webhook of all records from the start. */
export async function subscribe(
  server: SiteServer,
  { url }: Pick<Receiver, 'url'>,
): Promise<NewWebhookView> {
  await server.untilReady()
  const created = await server.post('/api/webhooks', { url, kinds: ALL_KINDS, from: 'start' })
  expect(created.status, created.text).toBe(201)
  return created.body as NewWebhookView
}

/** Fails unless each record of all runs was received, for the first time in its order, with an id of its own. */
export function expectAll(taken: readonly Delivery[], runs: ReadonlyMap<string, number>): void {
  const firsts = new Map(taken.map((delivery) => [delivery.id, delivery] as const).reverse())
  const inOrder = taken.filter((delivery) => firsts.get(delivery.id) === delivery)
  const seqs = seqsByRun(inOrder)
  for (const [runId, length] of runs) {
    expect(seqs.get(runId), runId).toEqual(Array.from({ length }, (_, seq) => seq))
  }
}
