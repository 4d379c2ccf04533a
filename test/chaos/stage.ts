import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { Client } from './client.ts'
import { type Acknowledged, type Evidence, eventsInFile, type Observation } from './evidence.ts'
import { readLedger } from './ledger.ts'
import { GOAL, type Plan, scriptOf } from './plans.ts'
import { Server } from './server-process.ts'
import { type Frame, watch } from './watch.ts'

/** A run of a plan, and all that was seen of it in the lives of its servers. */
class Act {
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

/** A data folder, a scripted model and runs by plan, for servers that die and are followed by others. */
export class Stage implements AsyncDisposable {
  readonly #folder: string
  readonly #model: Model
  readonly #acts: readonly Act[]
  readonly #servers: Server[] = []

  private constructor(folder: string, model: Model, acts: readonly Act[]) {
    this.#folder = folder
    this.#model = model
    this.#acts = acts
  }

  static async open(plans: readonly Plan[]): Promise<Stage> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-crash-')))
    const acts = plans.map((plan) => new Act(plan, folder))
    for (const { project } of acts) {
      await mkdir(project)
      await writeFile(join(project, '.retrai.yml'), GOAL)
    }
    return new Stage(folder, await startScriptedModel({ script: scriptOf(plans) }), acts)
  }

  get #dataDir(): string {
    return join(this.#folder, 'data')
  }

  start(settings: Readonly<Record<string, string>> = {}): Server {
    const server = new Server({ dataDir: this.#dataDir, modelUrl: this.#model.url }, settings)
    this.#servers.push(server)
    return server
  }

  /** Plays all plans as far as they go: to the end of a run, to a question without answer, or to the death of the server. */
  async play(server: Server): Promise<void> {
    const url = await server.url
    if (url === null) return
    const gone = new AbortController()
    void server.exit.then(() => gone.abort())
    const client = new Client(url, gone.signal)
    await Promise.all(this.#acts.map((act) => play(act, client, gone.signal)))
  }

  runId(plan: Plan): string {
    const { runId } = this.#act(plan)
    if (runId === null) throw new Error(`the run of ${plan.name} was never acknowledged`)
    return runId
  }

  /** How often the model was asked for each of its turns. */
  asked(plan: Plan): number[] {
    const counts: number[] = []
    for (const { conversation, turn } of this.#model.requests) {
      if (conversation.includes(`/${plan.name}.`)) counts[turn] = (counts[turn] ?? 0) + 1
    }
    return counts
  }

  /** What there is to know of a run, once no server has the log open. */
  async evidence(plan: Plan, details: unknown): Promise<Evidence> {
    const { project, observations, acknowledged } = this.#act(plan)
    const runId = this.runId(plan)
    return {
      runId,
      events: eventsInFile(this.#dataDir, runId),
      observations,
      ledger: await readLedger(project),
      acknowledged,
      settled: true,
      details: [details],
    }
  }

  #act(plan: Plan): Act {
    const act = this.#acts.find((candidate) => candidate.plan === plan)
    if (act === undefined) throw new Error(`${plan.name} is not played here`)
    return act
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server.kill('SIGKILL')
    await Promise.all(this.#servers.map(({ exit }) => exit))
    await this.#model.close()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function play(act: Act, client: Client, gone: AbortSignal): Promise<void> {
  const { name, body, answers } = act.plan
  const request = { goal: 'shell-goal', model_name: 'scripted', cwd: act.project, ...body }
  const runId = await client.create(name, request)
  if (runId === null) return
  act.runId = runId
  act.acknowledged.push({ type: 'created' })
  const enough = new AbortController()
  const reactions: Promise<void>[] = []
  const onFrame = (frame: Frame): void => {
    if (frame.kind !== 'human_check_required') return
    if (answers) reactions.push(answer(act, runId, frame.seq, client))
    else enough.abort()
  }
  const signal = AbortSignal.any([gone, enough.signal])
  act.observations.push(await watch(client.url, runId, { signal, onFrame }))
  await Promise.all(reactions)
}

async function answer(act: Act, runId: string, seq: number, client: Client): Promise<void> {
  const { changes } = act.plan
  if (changes !== undefined) {
    const changed = await client.send('PATCH', `/api/runs/${runId}/config`, changes)
    if (changed?.status === 200) act.acknowledged.push({ type: 'configured', changes })
  }
  const decision = { decision: 'approve', seq } as const
  const answered = await client.send('POST', `/api/runs/${runId}/resume`, decision)
  if (answered?.status === 200) act.acknowledged.push({ type: 'resumed', ...decision })
}
