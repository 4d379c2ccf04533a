import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import type { ServerProcess } from '../../examples/demo/server.ts'
import type { Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { GENESIS, recordHash } from '../../src/log/chain.ts'
import { decode, type LoggedRecord } from '../../src/log/codec.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { serverEnv, startServer } from '../cli/support.ts'
import { Watcher } from '../http/live/watcher.ts'
import { type StandIn, startStandIn } from '../support/eventstore-stand-in/index.ts'

export type Answer = {
  readonly status: number
  readonly headers: Headers
  /** The time until the answer, milliseconds. */
  readonly took: number
  readonly body: Record<string, unknown>
}

/** Server processes, stand-ins and projects. Its disposal ends and removes all of them. */
export class Site implements AsyncDisposable {
  readonly folder: string
  readonly #cleanups: (() => Promise<unknown>)[] = []

  private constructor(folder: string) {
    this.folder = folder
  }

  static async open(): Promise<Site> {
    const site = new Site(await mkdtemp(join(tmpdir(), 'retrai-reliability-')))
    site.onClose(() => rm(site.folder, { recursive: true, force: true }))
    return site
  }

  onClose(cleanup: () => Promise<unknown>): void {
    this.#cleanups.push(cleanup)
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names)
  }

  /** A project whose goal is a file named `done`. */
  async project(name = 'project'): Promise<string> {
    const cwd = this.path(name)
    await this.write(join(name, '.retrai.yml'), 'check_command: test -f done\n')
    return cwd
  }

  async write(path: string, content: string): Promise<void> {
    await mkdir(dirname(this.path(path)), { recursive: true })
    await writeFile(this.path(path), content)
  }

  async standIn(): Promise<StandIn> {
    const standIn = await startStandIn()
    this.onClose(() => standIn.stop())
    return standIn
  }

  async model(script: Script) {
    const scripted = await startScriptedModel({ script })
    this.onClose(() => scripted.close())
    return scripted
  }

  /** A server process on a free port. */
  async serve(
    dataDir: string,
    options: {
      readonly model?: string
      readonly args?: readonly string[]
      readonly env?: Readonly<Record<string, string>>
      /** A command that runs the server, such as nsenter. */
      readonly launcher?: readonly string[]
    } = {},
  ): Promise<ServerProcess> {
    const { model = 'http://127.0.0.1:9/v1', args = [], launcher } = options
    const env = serverEnv({ RETRAI_LLM_BASE_URL: model, ...options.env })
    const place = ['--port', '0', '--data-dir', this.path(dataDir)]
    const server = await startServer([...place, ...args], env, launcher)
    this.onClose(() => kill(server))
    return server
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) await cleanup()
  }
}

export async function kill(server: ServerProcess): Promise<void> {
  if (server.process.exitCode !== null || server.process.signalCode !== null) return
  const exited = once(server.process, 'exit')
  server.process.kill('SIGKILL')
  await exited
}

export async function get(server: ServerProcess, path: string): Promise<Answer> {
  return answerOf(performance.now(), await fetch(`${server.url}${path}`))
}

export async function post(server: ServerProcess, path: string, body: unknown): Promise<Answer> {
  const began = performance.now()
  const response = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return answerOf(began, response)
}

async function answerOf(began: number, response: Response): Promise<Answer> {
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    took: performance.now() - began,
    body: text === '' ? {} : JSON.parse(text),
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

/** Starts a run. A refusal fails the test. */
export async function start(server: ServerProcess, cwd: string, changes = {}): Promise<string> {
  const created = await post(server, '/api/runs', runIn(cwd, changes))
  expect(created.status, JSON.stringify(created.body)).toBe(201)
  return String(created.body.run_id)
}

/** Expects a 503 with `retry-after`, in time. */
export function expectUnavailable(answer: Answer, withinMs = 10_000): void {
  expect(answer.status, JSON.stringify(answer.body)).toBe(503)
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(answer.took).toBeLessThan(withinMs)
}

/** Repeats a request until the answer is the wanted one. */
export async function until<T>(
  ask: () => Promise<T>,
  wanted: (value: T) => boolean,
  patienceMs = 40_000,
): Promise<T> {
  for (const deadline = performance.now() + patienceMs; ; ) {
    const value = await ask()
    if (wanted(value)) return value
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(value)}`)
    await delay(40)
  }
}

export const untilReady = (server: ServerProcess, status = 200): Promise<Answer> =>
  until(
    () => get(server, '/health/ready'),
    (answer) => answer.status === status,
  )

export const untilStatus = (
  server: ServerProcess,
  runId: string,
  status: string,
): Promise<Answer> =>
  until(
    () => get(server, `/api/runs/${runId}`),
    ({ body }) => body.status === status,
  )

/** An observer of a run, of all kinds of records. */
export const watch = (server: ServerProcess, runId: string): Watcher =>
  new Watcher({ port: Number(new URL(server.url).port) }, `${runId}?kinds=all`)

/** The lines of a file; empty if the file does not exist. */
export async function linesOf(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.split('\n').filter((line) => line !== '')
}

/** Whether the process with this id runs. A zombie does not. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) [ZX] /.test(stat)
}

export async function openStandInStore(standIn: StandIn): Promise<EventStore> {
  return (await openEventStoreDb({ connectionString: standIn.connectionString }))._unsafeUnwrap()
}

/** Opens the store of a data folder that no server uses, for the time of `use`. */
export async function withLog<T>(
  dataDir: string,
  use: (store: EventStore) => Promise<T>,
): Promise<T> {
  const store = await openEmbeddedStore({ file: join(dataDir, 'log.sqlite') })
  try {
    return await use(store._unsafeUnwrap())
  } finally {
    await store._unsafeUnwrap().close()
  }
}

/**
 * All records of a run in the log. Fails unless they are dense, each hash fits its record, the chain is whole, each
 * tool call has one result, and `run_end` comes once, as the last.
 */
export async function audit(store: EventStore, runId: string): Promise<LoggedRecord[]> {
  const records: LoggedRecord[] = []
  const page = { direction: 'forward', limit: 4096 } as const
  const events = await store.readStream(streamOf(runId), { ...page, from: 0 })
  for (const event of events._unsafeUnwrap()) {
    const logged = decode(event)._unsafeUnwrap()
    const { hash, ...unsigned } = logged.meta
    expect(logged.seq).toBe(records.length)
    expect(logged.meta.prev_hash).toBe(records.at(-1)?.meta.hash ?? GENESIS)
    expect(recordHash(logged.seq, logged.record, unsigned)).toBe(hash)
    records.push(logged)
  }
  const ends = records.filter(({ record }) => record.kind === 'run_end')
  expect(ends).toHaveLength(1)
  expect(records.at(-1)?.record.kind).toBe('run_end')
  const callIds = (kind: string) =>
    records.flatMap(({ record }) =>
      record.kind === kind && 'call_id' in record.payload ? [record.payload.call_id] : [],
    )
  expect(callIds('tool_result').sort()).toEqual(callIds('tool_call').sort())
  return records
}

export const kindsOf = (records: readonly LoggedRecord[]): string[] =>
  records.map(({ record }) => record.kind)
