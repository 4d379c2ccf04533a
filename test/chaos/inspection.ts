import { readdir, readFile, readlink } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { retrai } from '../cli/support.ts'
import { Client } from './client.ts'
import type { Evidence } from './evidence.ts'
import { violations } from './invariants.ts'
import { readLedger } from './ledger.ts'
import type { Scenario } from './scenario.ts'
import type { Slot } from './slot.ts'
import { watch } from './watch.ts'
import type { World } from './world.ts'

export type Inspected = {
  readonly evidence: readonly Evidence[]
  readonly violations: readonly string[]
}

/** How long a read model may take to show the end of a run, milliseconds. */
const PATIENCE_MS = 15_000
const AT_ONCE = 8

/** Requests each run from each server once more, verifies all through each, ends the servers, and checks every run from outside. */
export async function inspect({ scenarios, slots, environment }: World): Promise<Inspected> {
  const details = new Map<Scenario, unknown[]>()
  const left = scenarios.values()
  const ask = async (): Promise<void> => {
    for (const scenario of left) details.set(scenario, await lastLook(scenario, slots))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, ask))
  const found = (await Promise.all(slots.map(verification))).flat()
  await Promise.all(slots.map((slot) => slot.close()))
  const evidence: Evidence[] = []
  for (const scenario of scenarios) {
    found.push(...scenario.person.complaints)
    if (scenario.runId === null) {
      found.push(`the run of ${scenario.project} was never created`)
      continue
    }
    const { runId, observations, project, person } = scenario
    const seen: Evidence = {
      runId,
      observations,
      settled: true,
      details: details.get(scenario) ?? [],
      events: await environment.events(runId),
      ledger: await readLedger(project),
      acknowledged: person.acknowledged,
    }
    evidence.push(seen)
    for (const { invariant, message } of violations(seen)) {
      found.push(`run ${scenario.runId} (${scenario.project}): ${invariant}: ${message}`)
    }
  }
  return { evidence, violations: found }
}

/** Verifies all runs, and their artifacts, through a server. */
async function verification(slot: Slot): Promise<string[]> {
  const { code, stdout, stderr } = await retrai(['verify', '--server', await slot.ready()])
  return HOLDS.includes(code) ? [] : [`retrai verify ends with ${code}: ${stdout}${stderr}`]
}

/** Everything holds, or everything holds but the signer is not known, because nobody named a key. */
const HOLDS = [0, 2]

/** An observer reads the whole history from each server, and REST shows the end of the run. */
async function lastLook(scenario: Scenario, slots: readonly Slot[]): Promise<unknown[]> {
  const { runId, ended } = scenario
  if (runId === null || !ended) return []
  return Promise.all(
    slots.map(async (slot) => {
      const url = await slot.ready()
      const signal = AbortSignal.timeout(PATIENCE_MS)
      scenario.observations.push(await watch(url, runId, { signal }))
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

/** How long the processes of a server may outlive it, milliseconds. */
const FOLLOW_MS = 10_000

/** The processes that still run in a folder after a while. Only Linux shows them; elsewhere the list is empty. */
export async function processesIn(folder: string): Promise<string[]> {
  const end = performance.now() + FOLLOW_MS
  for (;;) {
    const found = await runningIn(folder)
    if (found.length === 0 || performance.now() > end) return found
    await delay(50)
  }
}

async function runningIn(folder: string): Promise<string[]> {
  const names = await readdir('/proc').catch(() => [])
  const found = await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map((pid) => describe(pid, folder)),
  )
  return found.filter((line) => line !== null)
}

async function describe(pid: string, folder: string): Promise<string | null> {
  try {
    if (!(await readlink(`/proc/${pid}/cwd`)).startsWith(folder)) return null
    return `${pid} ${(await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')}`
  } catch {
    return null
  }
}
