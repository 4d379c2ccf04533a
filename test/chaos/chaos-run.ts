import { setTimeout as delay } from 'node:timers/promises'
import type { StoreName } from './environment.ts'
import { applyFault, faultPlan } from './faults.ts'
import { inspect, processesIn } from './inspection.ts'
import { type Report, summed } from './report.ts'
import { World } from './world.ts'

export type ChaosOptions = {
  readonly seed: number
  readonly store: StoreName
  /** Of the EventStoreDB, for the store of that name. */
  readonly url?: string
  /** The faults end after this number of servers killed by SIGKILL, or after this number of seconds. */
  readonly kills: number
  readonly seconds: number
  /** Runs at the same time. */
  readonly runs: number
}

/** How long runs may take to end after the last fault, milliseconds. */
const CALM_MS = 180_000

/**
 * Starts real servers and real runs, applies the faults that follow from the seed, waits until the runs have ended,
 * and reports what it found.
 */
export async function chaosRun(options: ChaosOptions): Promise<Report> {
  const world = await World.open(options)
  let keep = true
  try {
    const report = await applyAndInspect(options, world)
    keep = report.violations.length > 0
    return report
  } finally {
    await world.close(keep)
  }
}

async function applyAndInspect(options: ChaosOptions, world: World): Promise<Report> {
  const began = performance.now()
  let faulty = true
  const lives = Array.from({ length: options.runs }, async () => {
    while (faulty) await world.playOneRun()
  })
  await applyFaults(options, world)
  const faultSeconds = (performance.now() - began) / 1000
  faulty = false
  await world.environment.endFaults()
  const calm = setTimeout(() => world.callTime(), CALM_MS)
  await Promise.all(lives)
  clearTimeout(calm)
  const inspected = await inspect(world)
  for (const process of await processesIn(world.folder)) {
    world.finds(`a process is left: ${process}`)
  }
  for (const complaint of world.witnesses.complaints) world.finds(complaint)
  if (world.witnesses.signed === 0) world.finds('no witness has seen a checkpoint')
  const { findings, starts, folder, model } = world
  const facts = { faultSeconds, starts, folder, modelRequests: model.requests.length }
  return summed(findings, inspected, { ...options, ...facts })
}

async function applyFaults(options: ChaosOptions, world: World): Promise<void> {
  const { findings, slots } = world
  const lasting = new Set<Promise<void>>()
  const keep = (fault: Promise<void> | undefined): void => {
    if (fault === undefined) return
    const kept = fault.finally(() => lasting.delete(kept))
    lasting.add(kept)
  }
  const end = performance.now() + options.seconds * 1000
  for (const fault of faultPlan(options.seed, options.store)) {
    if (findings.kills >= options.kills || performance.now() >= end) break
    await delay(fault.waitMs)
    const slot = slots[Math.floor(fault.choice * slots.length)]
    if (slot === undefined) break
    if (fault.whenListening) await slot.listening()
    findings.faults[fault.name] = (findings.faults[fault.name] ?? 0) + 1
    await applyFault(fault, slot, world, keep)
  }
  await Promise.all(lasting)
}
