import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { brokenProject } from '../../examples/scripted-model/fix-the-calculator.ts'
import type { Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { cleanEnv, retrai, serverEnv, startServer } from '../cli/support.ts'
import { Watcher } from '../http/live/watcher.ts'
import { writeFiles } from '../runner/support.ts'
import { type StandIn, startStandIn } from './eventstore-stand-in/index.ts'
import { PATIENCE_MS } from './within.ts'

type Strings = Readonly<Record<string, string>>

export type ServeOptions = {
  /** Without one, nothing answers requests to models. */
  readonly model?: { readonly url: string }
  /** The EventStoreDB whose log it uses; without one, the log is in its data folder. */
  readonly store?: Pick<StandIn, 'connectionString'>
  readonly args?: readonly string[]
  readonly env?: Strings
  /** The token that it is configured with and that requests carry. */
  readonly token?: string
  /** The token of its log that requests carry instead. */
  readonly caller?: string
  /** A command that runs the server, such as nsenter. */
  readonly launcher?: readonly string[]
}

/** A folder with server processes, their stores and models, and projects. All of it ends with the site. */
export class Site {
  readonly folder: string
  readonly #cleanups: (() => unknown)[] = []

  private constructor(folder: string) {
    this.folder = folder
    this.onClose(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  }

  static async open(): Promise<Site> {
    return new Site(await realpath(await mkdtemp(join(tmpdir(), 'retrai-site-'))))
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup()
  }

  onClose(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup)
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names)
  }

  async write(path: string, content: string): Promise<string> {
    await writeFiles(this.folder, { [path]: content })
    return this.path(path)
  }

  /** A project whose goal is a file named `done`. */
  async project(name = 'project'): Promise<string> {
    return dirname(await this.write(join(name, '.retrai.yml'), 'check_command: test -f done\n'))
  }

  /** A project whose tests fail. */
  async brokenProject(name: string): Promise<string> {
    await writeFiles(this.path(name), brokenProject)
    return this.path(name)
  }

  async standIn(): Promise<StandIn> {
    const standIn = await startStandIn()
    this.onClose(() => standIn.stop())
    return standIn
  }

  async model(script: Script) {
    const model = await startScriptedModel({ script })
    this.onClose(() => model.close())
    return model
  }

  /** A server process on a free port. @param dataDir the name of its data folder */
  async serve(dataDir = 'data', options: ServeOptions = {}): Promise<SiteServer> {
    const { model, store, args = [], env, token, caller = token, launcher } = options
    const place = ['--port', '0', '--data-dir', this.path(dataDir)]
    const log = store === undefined ? [] : ['--store', store.connectionString]
    const settings = {
      RETRAI_LLM_BASE_URL: model?.url ?? 'http://127.0.0.1:9/v1',
      ...(token === undefined ? {} : { RETRAI_TOKEN: token }),
      ...env,
    }
    const started = await startServer([...place, ...log, ...args], serverEnv(settings), launcher)
    const server = new SiteServer(this, started, caller)
    this.onClose(() => server.kill())
    return server
  }

  /** A server with a run that has reached its goal in the project of the site. */
  async used(script: Script = [bash('touch done')], options: ServeOptions = {}) {
    const model = await this.model(script)
    const server = await this.serve('data', { ...options, model })
    const runId = await server.start('project', { max_iterations: 9 })
    await server.untilStatus(runId, 'achieved')
    return { server, runId, model }
  }

  /** The store of an EventStoreDB, as a server opens it. */
  async storeOf({ connectionString }: Pick<StandIn, 'connectionString'>): Promise<EventStore> {
    const store = (await openEventStoreDb({ connectionString }))._unsafeUnwrap()
    this.onClose(() => store.close())
    return store
  }

  /** Opens the store of a data folder that no server uses, for the time of `use`. */
  async withLog<T>(dataDir: string, use: (store: EventStore) => Promise<T>): Promise<T> {
    const file = this.path(dataDir, 'log.sqlite')
    const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
    try {
      return await use(store)
    } finally {
      await store.close()
    }
  }
}

export type Answer = {
  readonly status: number
  readonly headers: Response['headers']
  /** The time until the answer, milliseconds. */
  readonly took: number
  readonly text: string
  /** The JSON document that it is; empty if it is another. */
  readonly body: Record<string, unknown>
}

/** A server process and a client of it. */
export class SiteServer {
  readonly url: string
  readonly process: ServerProcess['process']
  readonly #site: Site
  readonly #stop: () => Promise<void>
  readonly #token: string | undefined

  constructor(site: Site, { url, process, stop }: ServerProcess, token: string | undefined) {
    this.url = url
    this.process = process
    this.#site = site
    this.#stop = stop
    this.#token = token
  }

  stop(): Promise<void> {
    return this.#stop()
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const exited = once(this.process, 'exit')
    this.process.kill('SIGKILL')
    await exited
  }

  async ask(method: string, path: string, body?: unknown, headers: Strings = {}): Promise<Answer> {
    const began = performance.now()
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...this.#authorization(),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '')
    return {
      status: response.status,
      headers: response.headers,
      text,
      took: performance.now() - began,
      body: isJson ? JSON.parse(text) : {},
    }
  }

  /** The bytes of an answer of 200. */
  async bytes(path: string): Promise<Buffer> {
    const response = await fetch(`${this.url}${path}`, { headers: this.#authorization() })
    assert.equal(response.status, 200, path)
    return Buffer.from(await response.arrayBuffer())
  }

  #authorization(): Strings {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }
  }

  get(path: string, headers?: Strings): Promise<Answer> {
    return this.ask('GET', path, undefined, headers)
  }

  post(path: string, body: unknown, headers?: Strings): Promise<Answer> {
    return this.ask('POST', path, body, headers)
  }

  /** Starts a run; a refusal fails the test. @param project its folder, or the name of a project of the site @returns its id */
  async start(project = 'project', changes = {}): Promise<string> {
    const cwd = isAbsolute(project) ? project : await this.#site.project(project)
    const { status, body, text } = await this.post('/api/runs', runIn(cwd, changes))
    assert.equal(status, 201, text)
    return String(body.run_id)
  }

  untilReady(status = 200): Promise<Answer> {
    return until(() => this.get('/health/ready'), answered(status))
  }

  untilStatus(runId: string, status: string): Promise<Answer> {
    return until(
      () => this.get(`/api/runs/${runId}`),
      ({ body }) => body.status === status,
    )
  }

  /** An observer of a run, of all kinds of records. */
  watch(runId: string): Watcher {
    return new Watcher({ port: Number(new URL(this.url).port) }, `${runId}?kinds=all`)
  }

  /** Runs `retrai …` for this server, to its end. */
  retrai(...args: readonly string[]) {
    const token = this.#token === undefined ? {} : { RETRAI_TOKEN: this.#token }
    return retrai(args, { ...cleanEnv(), RETRAI_SERVER: this.url, ...token })
  }
}

/** The request for a run whose goal is checked after each reply, so that few replies make many records. */
export const runIn = (cwd: string, changes: object = {}) => ({
  goal: 'shell-goal',
  cwd,
  model_name: 'scripted',
  max_iterations: 5,
  max_turns_per_iteration: 1,
  ...changes,
})

/** A reply of the model that runs a command. */
export const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })

/** Runs `retrai …`, which must succeed. @returns what it prints */
export async function printed(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await retrai(args, env)
  assert.equal(code, 0, stdout + stderr)
  return stdout
}

/** Repeats a question until the answer is the wanted one. */
export async function until<T>(
  ask: () => T | Promise<T>,
  wanted: (value: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  for (const deadline = performance.now() + patienceMs; ; ) {
    const value = await ask()
    if (wanted(value)) return value
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(value)}`)
    await delay(40)
  }
}

/** What `until` waits for. */
export const is = (wanted: unknown) => (value: unknown) => value === wanted
export const isAtLeast = (least: number) => (value: number) => value >= least
export const hasLength = (wanted: number) => (value: { readonly length: number }) =>
  value.length === wanted
export const answered = (wanted: number) => (answer: { readonly status: number }) =>
  answer.status === wanted

export { writeFiles }

/** The lines of a file; empty if the file does not exist. */
export async function linesOf(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.split('\n').filter((line) => line !== '')
}

/** Resolves when a file has more than so many lines. */
export const untilLines = (file: string, count: number): Promise<string[]> =>
  until(
    () => linesOf(file),
    (lines) => lines.length > count,
  )

/** Resolves when the log of an EventStoreDB holds more than so many records of a run. */
export const untilRecords = ({ log }: StandIn, runId: string, count: number): Promise<number> =>
  until(() => log.events(`run-${runId}`).length, isAtLeast(count + 1))
