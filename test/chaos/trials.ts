import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import type { RunDetails } from '../../src/api/runs.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { startStandIn } from '../support/eventstore-stand-in/index.ts'
import { Wire } from '../support/eventstore-stand-in/wire.ts'
import { callProblems } from './call-invariants.ts'
import { Client } from './client.ts'
import { openEnvironment } from './environment.ts'
import { eventsInStandIn, type StoredEvent } from './evidence.ts'
import { Random } from './random.ts'
import { Server } from './server-process.ts'
import { Slot } from './slot.ts'

type Options = {
  readonly seed: number
  /** Runs at the same time. */
  readonly runs: number
  /** How long a check of the goal takes. */
  readonly checkSeconds: number
}

export type TrialReport = {
  readonly figures: Readonly<Record<string, number>>
  /** What may not happen. */
  readonly violations: readonly string[]
}

/** The longest wait for a request, and for the end of all runs. */
const PATIENCE_MS = 10_000
const CALM_MS = 300_000
const POLL_MS = 100

/** Real servers, each started again when it dies, and runs that reach their goal if they are left alone. */
class Trial implements AsyncDisposable {
  readonly runs: string[] = []
  readonly slots: readonly Slot[]
  readonly #folder: string
  readonly #checkSeconds: number
  readonly #cleanups: (() => Promise<unknown>)[]

  private constructor(
    folder: string,
    checkSeconds: number,
    slots: readonly Slot[],
    cleanups: (() => Promise<unknown>)[],
  ) {
    this.#folder = folder
    this.#checkSeconds = checkSeconds
    this.slots = slots
    this.#cleanups = cleanups
  }

  /** @param servers the settings of each server */
  static async open(
    folder: string,
    checkSeconds: number,
    servers: readonly Readonly<Record<string, string>>[],
  ): Promise<Trial> {
    const model = await startScriptedModel({
      script: [{ calls: [{ tool: 'bash_exec', args: { command: 'touch done' } }] }],
    })
    const slots = servers.map((settings, n) => {
      const dataDir = join(folder, n === 0 ? 'data' : `data-${n}`)
      const start = () => new Server({ dataDir, modelUrl: model.url }, settings)
      return new Slot(start, () => {})
    })
    return new Trial(folder, checkSeconds, slots, [() => model.close()])
  }

  /** Creates a run over any server that listens. */
  async create(): Promise<string> {
    const project = join(this.#folder, `run-${this.runs.length}`)
    this.runs.push('')
    const at = this.runs.length - 1
    await mkdir(project)
    const check = `check_command: sleep ${this.#checkSeconds}; test -f done\n`
    await writeFile(join(project, '.retrai.yml'), check)
    const body = { goal: 'shell-goal', model_name: 'scripted', cwd: project, max_iterations: 5 }
    for (;;) {
      const id = await (await this.#anyone()).create(project, body)
      if (id !== null) {
        this.runs[at] = id
        return id
      }
      await delay(POLL_MS)
    }
  }

  /** Asks until any server shows the run. */
  async look(runId: string): Promise<RunDetails> {
    for (;;) {
      const answer = await (await this.#anyone()).get(`/api/runs/${runId}`)
      if (answer?.status === 200) return answer.body as RunDetails
      await delay(POLL_MS)
    }
  }

  /** Waits for the end of a run. A person approves what waits for one. @returns how often */
  async untilEnded(runId: string): Promise<number> {
    let answered = 0
    for (const end = performance.now() + CALM_MS; performance.now() < end; ) {
      const { ended_at, progress } = await this.look(runId)
      if (ended_at !== null) break
      if (progress.waiting_for !== null) {
        const { seq } = progress.waiting_for
        const approve = { decision: 'approve', seq }
        const sent = await (await this.#anyone()).send('POST', `/api/runs/${runId}/resume`, approve)
        if (sent?.status === 200) answered += 1
      }
      await delay(POLL_MS)
    }
    return answered
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.close()))
    for (const cleanup of this.#cleanups) await cleanup()
  }

  async #anyone(): Promise<Client> {
    for (;;) {
      const urls = this.slots.flatMap(({ url }) => (url === null ? [] : [url]))
      const url = urls[Math.floor(Math.random() * urls.length)]
      if (url !== undefined) return new Client(url, AbortSignal.timeout(PATIENCE_MS))
      await delay(POLL_MS)
    }
  }
}

/** What is wrong with the records of runs that were left alone but for the faults; and what was counted in them. */
function inspected(logs: ReadonlyMap<string, readonly StoredEvent[]>): TrialReport {
  const violations: string[] = []
  const figures = { runs: logs.size, records: 0, claims: 0, after_crash: 0, lease_expired: 0 }
  for (const [runId, events] of logs) {
    const records = events.map(({ data }): RunRecord => JSON.parse(data))
    const end = records.at(-1)
    if (end?.kind !== 'run_end') violations.push(`${runId} has not ended`)
    else if (end.payload.status !== 'achieved') violations.push(`${runId}: ${end.payload.reason}`)
    violations.push(...callProblems(records).map((problem) => `${runId}: ${problem}`))
    figures.records += records.length
    for (const record of records) {
      if (record.kind !== 'run_claimed') continue
      figures.claims += 1
      if (record.payload.after_crash === true) figures.after_crash += 1
      if (record.payload.after === 'lease_expired') figures.lease_expired += 1
    }
  }
  return { figures, violations }
}

const makeFolder = async () => realpath(await mkdtemp(join(tmpdir(), 'retrai-trial-')))

/** Kills a server at most a second after it was ready, again and again. That costs time, and no run. */
export async function crashLoop(
  options: Options & { readonly kills: number },
): Promise<TrialReport> {
  const { seed, runs, kills, checkSeconds } = options
  const folder = await makeFolder()
  const environment = await openEnvironment('embedded', folder, undefined)
  const random = new Random(seed, 'crash loop')
  const logs = new Map<string, readonly StoredEvent[]>()
  let ids: readonly string[] = []
  let waiting = 0
  let calmSeconds = 0
  {
    await using trial = await Trial.open(folder, checkSeconds, [{}])
    ids = await Promise.all(Array.from({ length: runs }, () => trial.create()))
    const [slot] = trial.slots
    for (let killed = 0; killed < kills; killed += 1) {
      await slot?.ready()
      await delay(random.int(0, 1_000))
      slot?.kill(0)
    }
    const calm = performance.now()
    const answers = await Promise.all(ids.map((id) => trial.untilEnded(id)))
    calmSeconds = Math.round((performance.now() - calm) / 1_000)
    waiting = answers.filter((count) => count > 0).length
  }
  for (const id of ids) logs.set(id, await environment.events(id))
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  const { figures, violations } = inspected(logs)
  const many = waiting > runs / 10 ? [`${waiting} of ${runs} runs waited for a person`] : []
  return {
    figures: { kills, waited_for_a_person: waiting, calm_seconds: calmSeconds, ...figures },
    violations: [...violations, ...many],
  }
}

const SERVERS = 3
/** How many leases a server is cut off. */
const LEASES = 3

/** Cuts servers off from their store, one alone at a time, in turn. No record says that one crashed. */
export async function cutOff(
  options: Options & { readonly rounds: number; readonly leaseSeconds: number },
): Promise<TrialReport> {
  const { runs, rounds, checkSeconds, leaseSeconds } = options
  const folder = await makeFolder()
  const store = await startStandIn()
  const wires = Array.from({ length: SERVERS }, () => new Wire(0, store.port))
  for (const wire of wires) await wire.open()
  const servers = wires.map(({ port }) => ({
    EVENTSTORE_URL: `esdb://127.0.0.1:${port}?tls=false&defaultDeadline=1500`,
    RETRAI_LEASE_SECONDS: String(leaseSeconds),
  }))
  const logs = new Map<string, readonly StoredEvent[]>()
  {
    await using trial = await Trial.open(folder, checkSeconds, servers)
    await Promise.all(trial.slots.map((slot) => slot.ready()))
    let cutting = true
    const lives = Array.from({ length: runs }, async () => {
      while (cutting) await trial.untilEnded(await trial.create())
    })
    for (let round = 0; round < rounds; round += 1) {
      for (const [n, wire] of wires.entries()) {
        await wire.close()
        await delay(LEASES * leaseSeconds * 1_000)
        await wire.open()
        await trial.slots[n]?.ready()
      }
    }
    cutting = false
    await Promise.all(lives)
    for (const id of trial.runs) logs.set(id, eventsInStandIn(store, id))
  }
  for (const wire of wires) await wire.close()
  await store.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  const { figures, violations } = inspected(logs)
  const { after_crash } = figures
  const crashes = after_crash ? [`${after_crash} claims name a crash, and no server crashed`] : []
  return {
    figures: { cuts: rounds * SERVERS, ...figures },
    violations: [...violations, ...crashes],
  }
}

export const trialText = (name: string, { figures, violations }: TrialReport): string => {
  const counts = Object.entries(figures).map(([what, n]) => `${what.replaceAll('_', ' ')} ${n}`)
  const found = violations.map((violation) => `  - ${violation}`)
  return [`${name}: ${counts.join(', ')}; ${found.length} violations`, ...found].join('\n')
}
