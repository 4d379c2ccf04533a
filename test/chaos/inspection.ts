import { setTimeout as delay } from 'node:timers/promises'
import { Client } from './client.ts'
import type { Evidence } from './evidence.ts'
import type { Ground } from './ground.ts'
import { violations } from './invariants.ts'
import { readLedger } from './ledger.ts'
import type { Slot } from './slot.ts'
import type { Tale } from './tale.ts'
import { watch } from './watch.ts'
import type { World } from './world.ts'

export type Inspected = {
  readonly evidence: readonly Evidence[]
  readonly violations: readonly string[]
}

/** How long a read model may take to show the end of a run, milliseconds. */
const PATIENCE_MS = 15_000
const AT_ONCE = 8

/** Asks each server for each run once more, ends the servers, and checks every run from outside. */
export async function inspect({ tales, slots, ground }: World): Promise<Inspected> {
  const details = new Map<Tale, unknown[]>()
  const queue = [...tales]
  const ask = async (): Promise<void> => {
    for (let tale = queue.shift(); tale !== undefined; tale = queue.shift()) {
      details.set(tale, await lastLook(tale, slots))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, ask))
  await Promise.all(slots.map((slot) => slot.close()))
  const evidence: Evidence[] = []
  const found: string[] = []
  for (const tale of tales) {
    found.push(...tale.person.complaints)
    if (tale.runId === null) {
      found.push(`the run of ${tale.project} was never created`)
      continue
    }
    const seen = await evidenceOf(tale, tale.runId, details.get(tale) ?? [], ground)
    evidence.push(seen)
    for (const { invariant, message } of violations(seen)) {
      found.push(`run ${tale.runId} (${tale.project}): ${invariant}: ${message}`)
    }
  }
  return { evidence, violations: found }
}

async function evidenceOf(
  { observations, project, person }: Tale,
  runId: string,
  details: readonly unknown[],
  ground: Ground,
): Promise<Evidence> {
  return {
    runId,
    events: ground.events(runId),
    observations,
    ledger: await readLedger(project),
    acknowledged: person.acknowledged,
    settled: true,
    details,
  }
}

/** Every server tells the whole history to one who comes late, and the end of the run over REST. */
async function lastLook(tale: Tale, slots: readonly Slot[]): Promise<unknown[]> {
  const { runId, ended } = tale
  if (runId === null || !ended) return []
  return Promise.all(
    slots.map(async (slot) => {
      const url = await slot.ready()
      const signal = AbortSignal.timeout(PATIENCE_MS)
      tale.observations.push(await watch(url, runId, { signal }))
      return await detailsAtEnd(new Client(url, signal), runId)
    }),
  )
}

async function detailsAtEnd(client: Client, runId: string): Promise<unknown> {
  for (let waits = 0; ; waits += 1) {
    const answer = await client.get(`/api/runs/${runId}`)
    const body = answer?.body
    const ended = typeof body === 'object' && body !== null && 'ended_at' in body && body.ended_at
    if (ended || answer === null || waits > PATIENCE_MS / 50) return body
    await delay(50)
  }
}
