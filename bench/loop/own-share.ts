import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { median, table } from '../support/figures.ts'
import type { Places } from './beside-opencode.ts'
import { closedLoop } from './closed-loop.ts'
import { instantEffects, realEffects } from './effects.ts'
import { InProcess } from './in-process.ts'
import { ITERATIONS } from './script.ts'
import { Service } from './service.ts'

const AT_ONCE = [1, 32]
const ROUNDS = 5
/** Runs at once in the round that does not count. */
const WARM_UP = 32
const runsPerRound = (atOnce: number): number => 20 + 4 * atOnce
/** A file system in memory, if there is one: a log there does not wait for a disk. */
const MEMORY = '/dev/shm'

/** The loop, whole and without some of its parts. */
type Variant = { readonly name: string; readonly loop: InProcess; readonly costs: Cost[] }

/** Milliseconds of the clock and of processors (all threads) for one iteration. */
export type Cost = { readonly ms: number; readonly cpuMs: number }

/** The loop in this process, with and without the model, the tool, the projector and the disk. */
export async function ownShare({ folder, project, modelUrl }: Places): Promise<string> {
  const memory = existsSync(MEMORY) ? await mkdtemp(join(MEMORY, 'retrai-bench-')) : null
  const rows: string[][] = []
  try {
    for (const atOnce of AT_ONCE) {
      const place = join(folder, `at-once-${atOnce}`)
      const inMemory = memory === null ? null : join(memory, `at-once-${atOnce}`)
      const variants = await openVariants({ place, inMemory, project, modelUrl })
      for (const { loop } of variants) await measure(loop, WARM_UP)
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const { loop, costs } of variants) costs.push(await measure(loop, atOnce))
      }
      rows.push(...lines(atOnce, variants))
      for (const { loop } of variants) await loop.close()
    }
  } finally {
    if (memory !== null) await rm(memory, { recursive: true, force: true })
  }
  const head = ['runs at once', 'variant', 'ms an iteration', 'share', 'CPU ms']
  return [table(head, rows), '', NOTES].join('\n')
}

async function openVariants(places: {
  readonly place: string
  readonly inMemory: string | null
  readonly project: string
  readonly modelUrl: string
}): Promise<Variant[]> {
  const { place, inMemory, project, modelUrl } = places
  const open = async (
    name: string,
    parent: string,
    effects = instantEffects,
    options: { readonly projecting?: boolean } = {},
  ): Promise<Variant> => {
    const folder = join(parent, name.replaceAll(/\W+/g, '-'))
    await mkdir(folder, { recursive: true })
    const service = await Service.open(folder, effects, options)
    return { name, loop: new InProcess(service, project), costs: [] }
  }
  return [
    await open('all of it', place, realEffects(modelUrl, place)),
    await open('our own code', place),
    await open('our own code without projecting', place, instantEffects, { projecting: false }),
    ...(inMemory === null ? [] : [await open('our own code without a disk', inMemory)]),
  ]
}

const measure = (loop: InProcess, atOnce: number): Promise<Cost> =>
  costOf(loop, { atOnce, runs: runsPerRound(atOnce) })

/** What an iteration costs if `atOnce` of these runs are always under way. */
export async function costOf(
  loop: InProcess,
  options: { readonly atOnce: number; readonly runs: number },
): Promise<Cost> {
  const before = process.cpuUsage()
  const { runsPerSecond } = await closedLoop(() => loop.runOnce(), options)
  const { user, system } = process.cpuUsage(before)
  return {
    ms: 1000 / (runsPerSecond * ITERATIONS),
    cpuMs: (user + system) / 1000 / (options.runs * ITERATIONS),
  }
}

function lines(atOnce: number, variants: readonly Variant[]): string[][] {
  const figures = variants.map(({ name, costs }) => ({
    name,
    ms: median(costs.map(({ ms }) => ms)),
    cpuMs: median(costs.map(({ cpuMs }) => cpuMs)),
  }))
  const whole = figures[0]?.ms ?? Number.NaN
  return figures.map(({ name, ms, cpuMs }) => {
    const share = `${((100 * ms) / whole).toFixed(0)} %`
    return [String(atOnce), name, ms.toFixed(2), share, cpuMs.toFixed(2)]
  })
}

const NOTES = `The same loop in the process of this driver, without HTTP; medians of ${ROUNDS} rounds, in which the
variants take turns. The time of an iteration is the time of a round divided by its iterations. CPU is that of all
threads of this process, without the model's process.

- *all of it*: the model over HTTP, the tool, the goal, and our own code.
- *our own code*: model and tool answer at once, within the process. What is left is to fold, decide,
  append (encode, hash, and write to the disk before the next step) and project.
- *without projecting*: the same without a projector; the difference is what projecting costs.
- *without a disk*: our own code with its data in a file system in memory; the difference is what
  waiting for the disk costs.`
