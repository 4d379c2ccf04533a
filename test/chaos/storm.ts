import { setTimeout as delay } from 'node:timers/promises'
import { deal } from './blows.ts'
import type { StoreName } from './ground.ts'
import { inspect } from './inspection.ts'
import { processesIn } from './leftovers.ts'
import { type Report, summed } from './report.ts'
import { strikes } from './strikes.ts'
import { World } from './world.ts'

export type StormOptions = {
  readonly seed: number
  readonly store: StoreName
  /** The storm is over after so many deaths of a server by SIGKILL, or after so many seconds. */
  readonly kills: number
  readonly seconds: number
  /** Runs at once. */
  readonly runs: number
}

/** How long runs may take to end once nothing happens to them any more, milliseconds. */
const CALM_MS = 180_000

/**
 * Real servers, real runs, and everything that can happen to them, by a plan that follows from the
 * seed. Lets it rage, waits until all is calm, and tells what was found.
 */
export async function runStorm(options: StormOptions): Promise<Report> {
  const world = await World.open(options)
  let keep = true
  try {
    const report = await rageAndInspect(options, world)
    keep = report.violations.length > 0
    return report
  } finally {
    await world.close(keep)
  }
}

async function rageAndInspect(options: StormOptions, world: World): Promise<Report> {
  const began = performance.now()
  const storm = { rages: true }
  const lives = Array.from({ length: options.runs }, async () => {
    while (storm.rages) await world.liveOneRun()
  })
  await rage(options, world)
  const rageSeconds = (performance.now() - began) / 1000
  storm.rages = false
  await world.ground.calm()
  const calm = setTimeout(() => world.callTime(), CALM_MS)
  await Promise.all(lives)
  clearTimeout(calm)
  const inspected = await inspect(world)
  for (const process of await processesIn(world.folder)) {
    world.finds(`a process is left: ${process}`)
  }
  const { findings, starts, folder, model } = world
  const facts = { rageSeconds, starts, folder, modelRequests: model.requests.length }
  return summed(findings, inspected, { ...options, ...facts })
}

async function rage(options: StormOptions, world: World): Promise<void> {
  const { findings, slots } = world
  const lasting = new Set<Promise<void>>()
  const keep = (blow: Promise<void> | undefined): void => {
    if (blow === undefined) return
    const kept = blow.finally(() => lasting.delete(kept))
    lasting.add(kept)
  }
  const end = performance.now() + options.seconds * 1000
  for (const strike of strikes(options.seed, options.store)) {
    if (findings.kills >= options.kills || performance.now() >= end) break
    await delay(strike.waitMs)
    const slot = slots[Math.floor(strike.choice * slots.length)]
    if (slot === undefined) break
    if (strike.whenListening) await slot.listening()
    findings.strikes[strike.name] = (findings.strikes[strike.name] ?? 0) + 1
    await deal(strike, slot, world, keep)
  }
  await Promise.all(lasting)
}
