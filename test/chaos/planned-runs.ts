import { mkdir, mkdtemp, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { Client } from './client.ts'
import {
  type Acknowledged,
  type Evidence,
  eventsInFile,
  type Observation,
  runIdIn,
  subagentsInFile,
} from './evidence.ts'
import { readLedger } from './ledger.ts'
import { GOAL, PART, type Plan, scriptOf } from './plans.ts'
import { Server } from './server-process.ts'
import { type Frame, watch } from './watch.ts'

/** A run of a plan, and all that its servers showed of it. */
class PlannedRun {
  readonly plan: Plan
  readonly project: string
  runId: string | null = null
  readonly observations: Observation[] = []
  readonly acknowledged: Acknowledged[] = []

  constructor(plan: Plan, folder: string) {
    this.plan = plan
    this.project = join(folder, plan.name)
  }
}

type Model = Awaited<ReturnType<typeof startScriptedModel>>

/** A data folder, a scripted model and one run for each plan. Servers work on them one after the other. */
export class PlannedRuns implements AsyncDisposable {
  readonly #folder: string
  readonly #model: Model
  readonly #runs: readonly PlannedRun[]
  readonly #servers: Server[] = []
  readonly #over: AbortSignal

  private constructor(
    folder: string,
    model: Model,
    runs: readonly PlannedRun[],
    over: AbortSignal,
  ) {
    this.#folder = folder
    this.#model = model
    this.#runs = runs
    this.#over = over
    over.addEventListener('abort', () => this.#kill())
  }

  /** @param over aborts when the test has timed out: then its servers end, and with them all that it waits for */
  static async open(plans: readonly Plan[], over: AbortSignal): Promise<PlannedRuns> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-crash-')))
    const runs = plans.map((plan) => new PlannedRun(plan, folder))
    for (const { project } of runs) {
      await mkdir(join(project, PART), { recursive: true })
      await writeFile(join(project, '.retrai.yml'), GOAL)
    }
    const model = await startScriptedModel({ script: scriptOf(plans) })
    return new PlannedRuns(folder, model, runs, over)
  }

  get #dataDir(): string {
    return join(this.#folder, 'data')
  }

  startServer(settings: Readonly<Record<string, string>> = {}): Server {
    const server = new Server({ dataDir: this.#dataDir, modelUrl: this.#model.url }, settings)
    this.#servers.push(server)
    if (this.#over.aborted) server.kill('SIGKILL')
    return server
  }

  /** Plays each plan until its run has ended, waits for an answer that the plan does not give, or the server dies. */
  async play(server: Server): Promise<void> {
    const url = await server.url
    if (url === null) return
    const gone = new AbortController()
    void server.exit.then(() => gone.abort())
    const client = new Client(url, gone.signal)
    await Promise.all(this.#runs.map((run) => play(run, client, gone.signal)))
  }

  /** Moves the project of a plan away, so that no server can work on its run. @returns what moves it back */
  async withoutProject(plan: Plan): Promise<() => Promise<void>> {
    const { project } = this.#run(plan)
    await rename(project, `${project}-away`)
    return () => rename(`${project}-away`, project)
  }

  projectOf(plan: Plan): string {
    return this.#run(plan).project
  }

  runId(plan: Plan): string {
    const { runId } = this.#run(plan)
    if (runId === null) throw new Error(`the run of ${plan.name} was never acknowledged`)
    return runId
  }

  /** How many requests the model got for each of its turns. */
  asked(plan: Plan): number[] {
    const counts: number[] = []
    for (const { conversation, turn } of this.#model.requests) {
      if (conversation.includes(`/${plan.name}.`)) counts[turn] = (counts[turn] ?? 0) + 1
    }
    return counts
  }

  /** All that is known of a run. No server may have the log open. */
  async evidence(plan: Plan, details: unknown): Promise<Evidence> {
    const { project, observations, acknowledged } = this.#run(plan)
    const runId = this.runId(plan)
    return {
      runId,
      events: eventsInFile(this.#dataDir, runId),
      subagents: subagentsInFile(this.#dataDir, runId),
      observations,
      ledger: await readLedger(project),
      acknowledged,
      settled: true,
      details: [details],
    }
  }

  /** All that is known of the sub-agents of a run. Nobody watches them. */
  async evidenceOfSubagents(plan: Plan, { subagents = [] }: Evidence): Promise<Evidence[]> {
    const ledger = await readLedger(join(this.projectOf(plan), PART))
    return subagents.flatMap((events) => {
      const [first] = events
      if (first === undefined) return []
      const unseen = { observations: [], acknowledged: [], details: [] }
      return [{ runId: runIdIn(first), events, ledger, settled: true, ...unseen }]
    })
  }

  #run(plan: Plan): PlannedRun {
    const run = this.#runs.find((candidate) => candidate.plan === plan)
    if (run === undefined) throw new Error(`no run has the plan ${plan.name}`)
    return run
  }

  #kill(): void {
    for (const server of this.#servers) server.kill('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill()
    await Promise.all(this.#servers.map(({ exit }) => exit))
    await this.#model.close()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function play(run: PlannedRun, client: Client, gone: AbortSignal): Promise<void> {
  const { name, body, answers } = run.plan
  const request = { goal: 'shell-goal', model_name: 'scripted', cwd: run.project, ...body }
  const runId = await client.create(name, request)
  if (runId === null) return
  run.runId = runId
  run.acknowledged.push({ type: 'created' })
  const enough = new AbortController()
  const reactions: Promise<void>[] = []
  const onFrame = (frame: Frame): void => {
    if (frame.kind === 'approval_required') reactions.push(allow(run, runId, frame, client))
    if (frame.kind !== 'human_check_required') return
    if (answers) reactions.push(answer(run, runId, frame.seq, client))
    else enough.abort()
  }
  const signal = AbortSignal.any([gone, enough.signal])
  run.observations.push(await watch(client.url, runId, { signal, onFrame }))
  await Promise.all(reactions)
}

/** Allows the call that waits since this record. If it was allowed before, the server refuses that. */
async function allow(run: PlannedRun, runId: string, frame: Frame, client: Client): Promise<void> {
  const { seq, payload } = frame
  const allowing = { decision: 'allow', call_sha256: payload.call_sha256 }
  const answered = await client.send('POST', `/api/runs/${runId}/approvals/${seq}`, allowing)
  if (answered?.status === 200) run.acknowledged.push({ type: 'allowed', seq })
}

async function answer(run: PlannedRun, runId: string, seq: number, client: Client): Promise<void> {
  const { changes } = run.plan
  if (changes !== undefined) {
    const changed = await client.send('PATCH', `/api/runs/${runId}/config`, changes)
    if (changed?.status === 200) run.acknowledged.push({ type: 'configured', changes })
  }
  const key = `${run.plan.name}-${seq}`
  const words = { text: 'Please finish it.' }
  const said = await client.send('POST', `/api/runs/${runId}/messages`, words, {
    'idempotency-key': key,
  })
  if (said?.status === 201 || said?.status === 200) run.acknowledged.push({ type: 'said', key })
  const decision = { decision: 'approve', seq } as const
  const answered = await client.send('POST', `/api/runs/${runId}/resume`, decision)
  if (answered?.status === 200) run.acknowledged.push({ type: 'resumed', ...decision })
}
