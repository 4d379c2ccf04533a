import { spawnSync } from 'node:child_process'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { Actors, MEMORY_MIB } from './actors.ts'
import { type Environment, openEnvironment, type StoreName } from './environment.ts'
import { Random } from './random.ts'
import type { Findings } from './report.ts'
import { Scenario } from './scenario.ts'
import { type Exit, Server } from './server-process.ts'
import { Slot } from './slot.ts'
import { ChaosWitnesses } from './witnesses.ts'

type Model = Awaited<ReturnType<typeof startScriptedModel>>
type Options = {
  readonly seed: number
  readonly store: StoreName
  readonly url?: string
}

/** The driver runs without the test runner, which knows what is missing. */
const answers = (program: string): boolean =>
  spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0

type Part = 'folder' | 'environment' | 'model' | 'witnesses'

/** All that takes part in a chaos run: servers, their store, a model, runs and people. */
export class World {
  readonly folder: string
  readonly environment: Environment
  readonly model: Model
  readonly slots: readonly Slot[]
  readonly scenarios: Scenario[] = []
  readonly findings: Findings = { kills: 0, cutShort: 0, faults: {}, violations: [] }
  readonly #seed: number
  readonly #actors: Actors
  readonly #servers: Server[] = []
  readonly witnesses: ChaosWitnesses
  readonly #timeUp = new AbortController()
  /** Of all servers. */
  readonly #settings: Readonly<Record<string, string>>

  private constructor(
    seed: number,
    actors: Actors,
    { folder, environment, model, witnesses }: Pick<World, Part>,
  ) {
    this.#seed = seed
    this.#actors = actors
    this.folder = folder
    this.environment = environment
    this.model = model
    this.witnesses = witnesses
    // Every other seed isolates commands, if that is possible here.
    const isolates = new Random(seed, 'isolation').chance(0.5) && answers('bwrap')
    this.#settings = {
      ...environment.settings,
      ...witnesses.settings,
      RETRAI_ISOLATION: isolates ? 'namespaces' : 'none',
      RETRAI_COMMAND_MEMORY_MIB: String(MEMORY_MIB),
    }
    this.slots = environment.dataDirs.map((dataDir) => {
      const start = (settings: Readonly<Record<string, string>>) => this.server(dataDir, settings)
      return new Slot(start, (...end) => this.#died(...end))
    })
  }

  static async open({ seed, store, url = '' }: Options): Promise<World> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-chaos-')))
    const environment = await openEnvironment(store, folder, url)
    const actors = new Actors(seed)
    const model = await startScriptedModel({ script: (request) => actors.reply(request) })
    const urls = (): string[] => world.slots.flatMap(({ url }) => url ?? [])
    const witnesses = await ChaosWitnesses.open(folder, new Random(seed, 'witnesses'), urls)
    const world = new World(seed, actors, { folder, environment, model, witnesses })
    return world
  }

  server(dataDir: string, settings: Readonly<Record<string, string>> = {}): Server {
    const place = { dataDir, modelUrl: this.model.url }
    const server = new Server(place, { ...this.#settings, ...settings })
    this.#servers.push(server)
    return server
  }

  /** Plays one run from its creation to its end. */
  async playOneRun(): Promise<void> {
    const number = this.scenarios.length
    const scenario = new Scenario(number, {
      seed: this.#seed,
      folder: this.folder,
      anyUrl: () => this.#anyUrl(),
      signal: this.#timeUp.signal,
    })
    this.scenarios.push(scenario)
    await scenario.play(this.#actors.body(number)).catch((cause) => this.finds(String(cause)))
  }

  /** One of the runs that have not ended. @param choice a number of at least 0 and less than 1 */
  runUnderWay(choice: number): Scenario | undefined {
    const underWay = this.scenarios.filter(({ runId, ended }) => runId !== null && !ended)
    return underWay[Math.floor(choice * underWay.length)]
  }

  /** Ends all waiting. */
  callTime(): void {
    this.#timeUp.abort()
  }

  finds(message: string): void {
    this.findings.violations.push(message)
  }

  get starts(): number {
    return this.slots.reduce((sum, { starts }) => sum + starts, 0)
  }

  /** Stops everything. @param keep keeps the folder, with the logs of the servers, so that a failure can be studied */
  async close(keep: boolean): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.close('SIGKILL')))
    await this.model.close()
    await this.environment.close()
    await this.witnesses.close()
    if (!keep) return rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
    for (const [n, { output }] of this.#servers.entries()) {
      await writeFile(join(this.folder, `server-${n}.log`), output)
    }
  }

  async #anyUrl(): Promise<string> {
    for (;;) {
      const urls = this.slots.flatMap(({ url }) => (url === null ? [] : [url]))
      const url = urls[Math.floor(Math.random() * urls.length)]
      if (url !== undefined) return url
      await delay(20)
    }
  }

  #died({ code, signal }: Exit, { output }: Server, asked: boolean): void {
    if (signal === 'SIGKILL') this.findings.kills += 1
    // A server that does not listen for the signal yet is ended by it.
    else if (asked && signal === 'SIGTERM') return
    else if (asked && code === 1) this.findings.cutShort += 1
    else if (!asked || code !== 0) {
      this.finds(`a server ended by itself with ${code ?? signal}:\n${output}`)
    }
  }
}
