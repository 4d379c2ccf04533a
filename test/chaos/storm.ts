import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { Cast } from './cast.ts'
import { type Ground, openGround, type StoreName } from './ground.ts'
import { inspect } from './inspection.ts'
import { processesIn } from './leftovers.ts'
import { type Findings, type Report, summed } from './report.ts'
import { type Exit, Server } from './server-process.ts'
import { Slot } from './slot.ts'
import { type Strike, strikes } from './strikes.ts'
import { Tale } from './tale.ts'

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

/** Real servers, real runs, and everything that can happen to them, by a plan that follows from the seed. */
export class Storm {
  readonly #options: StormOptions
  readonly #folder: string
  readonly #ground: Ground
  readonly #model: Awaited<ReturnType<typeof startScriptedModel>>
  readonly #cast: Cast
  readonly #slots: readonly Slot[]
  readonly #tales: Tale[] = []
  readonly #servers: Server[] = []
  readonly #timeUp = new AbortController()
  readonly #lasting = new Set<Promise<void>>()
  readonly #findings: Findings = { kills: 0, cutShort: 0, strikes: {}, violations: [] }
  #raging = true

  private constructor(
    options: StormOptions,
    folder: string,
    ground: Ground,
    cast: Cast,
    model: Awaited<ReturnType<typeof startScriptedModel>>,
  ) {
    this.#options = options
    this.#folder = folder
    this.#ground = ground
    this.#cast = cast
    this.#model = model
    this.#slots = ground.dataDirs.map((dataDir) => {
      const start = (settings: Readonly<Record<string, string>>) => this.#server(dataDir, settings)
      return new Slot(start, (...end) => this.#died(...end))
    })
  }

  /** Lets it rage, waits until all is calm, and tells what was found. */
  static async run(options: StormOptions): Promise<Report> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-chaos-')))
    const ground = await openGround(options.store, folder)
    const cast = new Cast(options.seed)
    const model = await startScriptedModel({ script: (request) => cast.reply(request) })
    const storm = new Storm(options, folder, ground, cast, model)
    try {
      return await storm.#run()
    } finally {
      await model.close()
      await ground.close()
    }
  }

  async #run(): Promise<Report> {
    const began = performance.now()
    const lives = Array.from({ length: this.#options.runs }, () => this.#keepOneUnderWay())
    await this.#rage()
    const rageSeconds = (performance.now() - began) / 1000
    this.#raging = false
    await Promise.all(this.#lasting)
    await this.#ground.calm()
    const calm = setTimeout(() => this.#timeUp.abort(), CALM_MS)
    await Promise.all(lives)
    clearTimeout(calm)
    const inspected = await inspect(this.#tales, this.#slots, this.#ground)
    const left = await processesIn(this.#folder)
    for (const process of left) this.#finds(`a process is left: ${process}`)
    const report = summed(this.#findings, inspected, {
      ...this.#options,
      rageSeconds,
      modelRequests: this.#model.requests.length,
      starts: this.#slots.reduce((sum, { starts }) => sum + starts, 0),
      folder: this.#folder,
    })
    if (report.violations.length > 0) await this.#keepOutputs()
    else await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
    return report
  }

  async #rage(): Promise<void> {
    const { seed, store, kills, seconds } = this.#options
    const end = performance.now() + seconds * 1000
    for (const strike of strikes(seed, store)) {
      if (this.#findings.kills >= kills || performance.now() >= end) return
      await delay(strike.waitMs)
      const slot = this.#slots[Math.floor(strike.choice * this.#slots.length)]
      if (slot === undefined) return
      if (strike.whenListening) await slot.listening()
      this.#findings.strikes[strike.name] = (this.#findings.strikes[strike.name] ?? 0) + 1
      await this.#strike(strike, slot)
    }
  }

  async #strike(strike: Strike, slot: Slot): Promise<void> {
    const { name, lastsMs } = strike
    switch (name) {
      case 'kill':
        // A server that has a second one beside it stays away for a while.
        return slot.kill(this.#slots.length > 1 ? lastsMs : 0)
      case 'crash_point':
        return slot.kill(0, { RETRAI_CRASH_AT: strike.crashAt })
      case 'terminate':
        return slot.terminate()
      case 'stall':
        return this.#keep(slot.stall(lastsMs))
      case 'take_over':
        // The other one is started anew and takes all runs from one that cannot know it yet.
        for (const other of this.#slots) if (other !== slot) other.kill(0)
        return this.#keep(slot.stall(2 * lastsMs))
      case 'abort':
        return this.#talesUnderWay(strike)?.do((person, runId) => person.abort(runId))
      case 'configure':
        return this.#talesUnderWay(strike)?.do((person, runId) => person.configure(runId))
      case 'visit':
        return this.#keep(this.#talesUnderWay(strike)?.visit(lastsMs))
      case 'second_server':
        return this.#secondServer(slot)
      default:
        return this.#keep(this.#ground.strikes[name]?.(strike))
    }
  }

  /** A second server on the data of the first is refused, with a reason. */
  async #secondServer(slot: Slot): Promise<void> {
    const [dataDir = ''] = this.#ground.dataDirs
    if (slot.url === null || !slot.steady) return
    const second = new Server({ dataDir, modelUrl: this.#model.url })
    if ((await second.url) !== null) this.#finds('two servers work on the same data folder')
    second.kill('SIGKILL')
    const { code } = await second.exit
    if (code !== 1 || !second.output.includes(dataDir)) {
      this.#finds(`a second server ended with ${code}:\n${second.output}`)
    }
  }

  async #keepOneUnderWay(): Promise<void> {
    while (this.#raging) {
      const number = this.#tales.length
      const tale = new Tale(number, {
        seed: this.#options.seed,
        folder: this.#folder,
        anyUrl: () => this.#anyUrl(),
        signal: this.#timeUp.signal,
      })
      this.#tales.push(tale)
      await tale.live(this.#cast.body(number)).catch((cause) => this.#finds(String(cause)))
    }
  }

  async #anyUrl(): Promise<string> {
    for (;;) {
      const urls = this.#slots.flatMap(({ url }) => (url === null ? [] : [url]))
      const url = urls[Math.floor(Math.random() * urls.length)]
      if (url !== undefined) return url
      await delay(20)
    }
  }

  #server(dataDir: string, settings: Readonly<Record<string, string>>): Server {
    const all = { ...this.#ground.settings, ...settings }
    const server = new Server({ dataDir, modelUrl: this.#model.url }, all)
    this.#servers.push(server)
    return server
  }

  /** For whoever has to find out what happened. */
  async #keepOutputs(): Promise<void> {
    for (const [n, { output }] of this.#servers.entries()) {
      await writeFile(join(this.#folder, `server-${n}.log`), output)
    }
  }

  #died({ code, signal }: Exit, { output }: Server, asked: boolean): void {
    if (signal === 'SIGKILL') this.#findings.kills += 1
    // Before it listens for the signal, it ends by it.
    else if (asked && signal === 'SIGTERM') return
    else if (asked && code === 1) this.#findings.cutShort += 1
    else if (!asked || code !== 0) {
      this.#finds(`a server ended by itself with ${code ?? signal}:\n${output}`)
    }
  }

  #talesUnderWay({ choice }: Strike): Tale | undefined {
    const underWay = this.#tales.filter(({ runId, ended }) => runId !== null && !ended)
    return underWay[Math.floor(choice * underWay.length)]
  }

  #keep(lasting: Promise<void> | undefined): void {
    if (lasting === undefined) return
    const kept = lasting.finally(() => this.#lasting.delete(kept))
    this.#lasting.add(kept)
  }

  #finds(message: string): void {
    this.#findings.violations.push(message)
  }
}
