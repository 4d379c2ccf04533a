import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { Cast } from './cast.ts'
import { type Ground, openGround, type StoreName } from './ground.ts'
import type { Findings } from './report.ts'
import { type Exit, Server } from './server-process.ts'
import { Slot } from './slot.ts'
import { Tale } from './tale.ts'

type Model = Awaited<ReturnType<typeof startScriptedModel>>
type Options = { readonly seed: number; readonly store: StoreName }

/** All that a storm rages over: servers, their store, a model, runs and people. */
export class World {
  readonly folder: string
  readonly ground: Ground
  readonly model: Model
  readonly slots: readonly Slot[]
  readonly tales: Tale[] = []
  readonly findings: Findings = { kills: 0, cutShort: 0, strikes: {}, violations: [] }
  readonly #seed: number
  readonly #cast: Cast
  readonly #servers: Server[] = []
  readonly #timeUp = new AbortController()

  private constructor(seed: number, folder: string, ground: Ground, cast: Cast, model: Model) {
    this.#seed = seed
    this.folder = folder
    this.ground = ground
    this.#cast = cast
    this.model = model
    this.slots = ground.dataDirs.map((dataDir) => {
      const start = (settings: Readonly<Record<string, string>>) => this.server(dataDir, settings)
      return new Slot(start, (...end) => this.#died(...end))
    })
  }

  static async open({ seed, store }: Options): Promise<World> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-chaos-')))
    const ground = await openGround(store, folder)
    const cast = new Cast(seed)
    const model = await startScriptedModel({ script: (request) => cast.reply(request) })
    return new World(seed, folder, ground, cast, model)
  }

  server(dataDir: string, settings: Readonly<Record<string, string>> = {}): Server {
    const all = { ...this.ground.settings, ...settings }
    const server = new Server({ dataDir, modelUrl: this.model.url }, all)
    this.#servers.push(server)
    return server
  }

  /** Lives one run from the wish for it to its end. */
  async liveOneRun(): Promise<void> {
    const number = this.tales.length
    const tale = new Tale(number, {
      seed: this.#seed,
      folder: this.folder,
      anyUrl: () => this.#anyUrl(),
      signal: this.#timeUp.signal,
    })
    this.tales.push(tale)
    await tale.live(this.#cast.body(number)).catch((cause) => this.finds(String(cause)))
  }

  /** One of the runs that have not ended, by a number from 0 up to, but never, 1. */
  runUnderWay(choice: number): Tale | undefined {
    const underWay = this.tales.filter(({ runId, ended }) => runId !== null && !ended)
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

  /** Removes everything; where something was found, all is kept for whoever has to find out why. */
  async close(keep: boolean): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.close('SIGKILL')))
    await this.model.close()
    await this.ground.close()
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
    // Before it listens for the signal, it ends by it.
    else if (asked && signal === 'SIGTERM') return
    else if (asked && code === 1) this.findings.cutShort += 1
    else if (!asked || code !== 0) {
      this.finds(`a server ended by itself with ${code ?? signal}:\n${output}`)
    }
  }
}
