import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Observation } from './evidence.ts'
import { Person } from './person.ts'
import { GOAL } from './plans.ts'
import { Random } from './random.ts'
import { type Frame, watch } from './watch.ts'

const RECONNECT_MS = 20

type World = {
  readonly seed: number
  readonly folder: string
  /** The address of a server that listens; waits for one. */
  readonly anyUrl: () => Promise<string>
  /** Aborts when the time is up: ends everything. */
  readonly signal: AbortSignal
}

/** One run from its creation to its end, with the people and observers that take part in it. */
export class Scenario {
  readonly person: Person
  readonly project: string
  readonly observations: Observation[] = []
  runId: string | null = null
  ended = false
  readonly #random: Random
  readonly #world: World
  readonly #actions: Promise<void>[] = []
  #seen = -1

  constructor(run: number, world: World) {
    const { seed, folder, anyUrl, signal } = world
    this.#random = new Random(seed, 'scenario', run)
    this.#world = world
    this.project = join(folder, `run-${run}`)
    this.person = new Person(anyUrl, new Random(seed, 'person', run), signal)
  }

  /** Resolves when the run has ended and all requests are answered, or when the time is up. */
  async play(body: Readonly<Record<string, unknown>>): Promise<void> {
    await mkdir(this.project)
    await writeFile(join(this.project, '.retrai.yml'), GOAL)
    this.runId = await this.person.create(this.project, body)
    if (this.runId !== null) await this.#follow(this.runId)
    await Promise.all(this.#actions)
  }

  /** Lets the person do something with the run. `play` waits until it is done. */
  do(action: (person: Person, runId: string) => Promise<void>): void {
    if (this.runId !== null) this.#actions.push(action(this.person, this.runId))
  }

  /** An observer joins somewhere in the history and leaves after `ms` milliseconds. */
  async visit(ms: number): Promise<void> {
    const { runId } = this
    if (runId === null) return
    const { anyUrl, signal } = this.#world
    const after = this.#random.int(-1, this.#seen)
    const leave = AbortSignal.any([AbortSignal.timeout(ms), signal])
    this.observations.push(await watch(await anyUrl(), runId, { after, signal: leave }))
  }

  async #follow(runId: string): Promise<void> {
    const { anyUrl, signal } = this.#world
    const onFrame = (frame: Frame): void => {
      if (frame.seq <= this.#seen) return
      this.#seen = frame.seq
      if (frame.kind !== 'human_check_required') return
      this.do((person, id) => person.answer(id, frame.seq))
    }
    while (!signal.aborted) {
      const after = this.#random.chance(0.3) ? -1 : this.#seen
      const observation = await watch(await anyUrl(), runId, { after, signal, onFrame })
      this.observations.push(observation)
      if (observation.complete) {
        this.ended = true
        return
      }
      await delay(RECONNECT_MS)
    }
  }
}
