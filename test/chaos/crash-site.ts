import { rmSync, writeFileSync } from 'node:fs'
import { heldFile } from '../support/crash-points.ts'
import { linesOf, Site } from '../support/site.ts'
import { Client } from './client.ts'
import { ALL_PLANS, scriptOf } from './plans.ts'
import { Server } from './server-process.ts'

type Settings = Readonly<Record<string, string>>
type Model = Awaited<ReturnType<Site['model']>>
const never = new AbortController().signal

/**
 * A data folder, a scripted model and a server. The server dies at crash points, and the next one continues its runs. That
 * one can then work on other runs and die, so each crash takes one start.
 */
export class CrashSite implements AsyncDisposable {
  readonly site: Site
  readonly model: Model
  readonly #settings: Settings
  #server: Server
  /** The number of runs so far. */
  runs = 0

  private constructor(site: Site, model: Model, settings: Settings) {
    this.site = site
    this.model = model
    this.#settings = settings
    this.#server = this.#start()
  }

  /** @param settings of all its servers */
  static async open(settings: Settings = {}): Promise<CrashSite> {
    const site = await Site.open()
    return new CrashSite(site, await site.model(scriptOf(ALL_PLANS)), settings)
  }

  get dataDir(): string {
    return this.site.path('data')
  }

  get #crashAt(): string {
    return this.site.path('crash-at')
  }

  get server(): Server {
    return this.#server
  }

  /** From now on, its server dies when it has reached all of these points, as in RETRAI_CRASH_AT; so does each later one, until `restart`. */
  crashAt(...points: readonly string[]): void {
    rmSync(heldFile(this.#crashAt), { force: true })
    writeFileSync(this.#crashAt, points.join('\n'))
  }

  /** Those of the points that its server has reached. */
  get held(): Promise<string[]> {
    return linesOf(heldFile(this.#crashAt))
  }

  /** Starts the next server. @param at where it dies */
  restart(...at: readonly string[]): void {
    if (at.length > 0) this.crashAt(...at)
    else rmSync(this.#crashAt, { force: true })
    this.#server = this.#start()
  }

  async client(): Promise<Client> {
    const url = await this.#server.url
    if (url === null) throw new Error(`the server did not start:\n${this.#server.output}`)
    return new Client(url, never)
  }

  kill(): void {
    this.#server.kill('SIGKILL')
  }

  #start(): Server {
    const settings = { RETRAI_CRASH_AT: this.#crashAt, ...this.#settings }
    return new Server({ dataDir: this.dataDir, modelUrl: this.model.url }, settings)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    await this.#server.exit
    await this.site.close()
  }
}
