import { rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { Client } from './client.ts'
import { ALL_PLANS, scriptOf } from './plans.ts'
import { Server } from './server-process.ts'

type Settings = Readonly<Record<string, string>>
type Model = Awaited<ReturnType<typeof startScriptedModel>>
const never = new AbortController().signal

/** Several servers start at the same time, on a machine that may be busy. */
export const AMPLE = { timeout: 240_000 }

/**
 * A data folder, a scripted model and a server. The server dies at a crash point, and the next one continues its runs. That
 * one can then work on other runs and die, so each crash takes one start.
 */
export class CrashSite implements AsyncDisposable {
  readonly folder: string
  readonly model: Model
  readonly #settings: Settings
  #server: Server
  /** The number of groups of runs so far. */
  groups = 0

  private constructor(folder: string, model: Model, settings: Settings) {
    this.folder = folder
    this.model = model
    this.#settings = settings
    this.#server = this.#start()
  }

  static async open(settings: Settings): Promise<CrashSite> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-crash-')))
    return new CrashSite(
      folder,
      await startScriptedModel({ script: scriptOf(ALL_PLANS) }),
      settings,
    )
  }

  get dataDir(): string {
    return join(this.folder, 'data')
  }

  get #crashAt(): string {
    return join(this.folder, 'crash-at')
  }

  get server(): Server {
    return this.#server
  }

  /** From now on, its server dies at this point, as in RETRAI_CRASH_AT; so does each later one, until `restart`. */
  crashAt(point: string): void {
    writeFileSync(this.#crashAt, point)
  }

  /** Starts the next server. @param at where it dies */
  restart(at?: string): void {
    if (at === undefined) rmSync(this.#crashAt, { force: true })
    else this.crashAt(at)
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
    await this.model.close()
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The crash sites of a file of tests. A test that passes leaves its site, with a server that works, to the next one. */
export class CrashSites implements AsyncDisposable {
  readonly #free: CrashSite[] = []
  readonly #settings: Settings

  /** @param settings of all servers */
  constructor(settings: Settings = {}) {
    this.#settings = settings
  }

  /** @param over aborts when the test has timed out: then its server ends, and with it all that the test waits for */
  async with<T>(over: AbortSignal, use: (site: CrashSite) => Promise<T>): Promise<T> {
    const site = this.#free.pop() ?? (await CrashSite.open(this.#settings))
    const stop = () => site.kill()
    over.addEventListener('abort', stop)
    try {
      const result = await use(site)
      over.throwIfAborted()
      this.#free.push(site)
      return result
    } catch (error) {
      if (over.aborted) console.error(`The test took too long. Its server:\n${site.server.output}`)
      await site[Symbol.asyncDispose]()
      throw error
    } finally {
      over.removeEventListener('abort', stop)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#free.map((site) => site[Symbol.asyncDispose]()))
  }
}
