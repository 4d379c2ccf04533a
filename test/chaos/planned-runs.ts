import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { Client } from './client.ts'
import type { CrashSite } from './crash-site.ts'
import {
  type Acknowledged,
  type Evidence,
  eventsInFile,
  type Observation,
  runIdIn,
  subagentsInFile,
} from './evidence.ts'
import { readLedger } from './ledger.ts'
import { GOAL, PART, type Plan } from './plans.ts'
import { type Frame, watch } from './watch.ts'

/** A run of a plan, and all that its servers showed of it. */
type PlannedRun = {
  readonly plan: Plan
  readonly project: string
  /** The Idempotency-Key with which it is created. */
  readonly key: string
  runId: string | null
  readonly observations: Observation[]
  readonly acknowledged: Acknowledged[]
}

/** One run for each plan. The servers of a crash site work on them one after the other. */
export class PlannedRuns {
  readonly #site: CrashSite
  readonly #runs: readonly PlannedRun[]

  private constructor(site: CrashSite, runs: readonly PlannedRun[]) {
    this.#site = site
    this.#runs = runs
  }

  static async on(site: CrashSite, plans: readonly Plan[]): Promise<PlannedRuns> {
    site.groups += 1
    const group = `group-${site.groups}`
    const runs = plans.map((plan): PlannedRun => {
      const project = join(site.folder, group, plan.name)
      const key = `${group}-${plan.name}`
      return { plan, project, key, runId: null, observations: [], acknowledged: [] }
    })
    for (const { project } of runs) {
      await mkdir(join(project, PART), { recursive: true })
      await writeFile(join(project, '.retrai.yml'), GOAL)
      // Snapshots leave it out, and it is hashed.
      await mkdir(join(project, 'node_modules'))
    }
    return new PlannedRuns(site, runs)
  }

  /** Plays each plan until its run has ended, waits for an answer that the plan does not give, or the server dies. */
  async play(): Promise<void> {
    const { server } = this.#site
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
    for (const { conversation, turn } of this.#site.model.requests) {
      if (conversation.includes(`${this.projectOf(plan)}.`)) counts[turn] = (counts[turn] ?? 0) + 1
    }
    return counts
  }

  /** All that is known of a run, which has ended. */
  async evidence(plan: Plan): Promise<Evidence> {
    const { project, observations, acknowledged } = this.#run(plan)
    const { dataDir } = this.#site
    const runId = this.runId(plan)
    const details = await (await this.#site.client()).get(`/api/runs/${runId}`)
    return {
      runId,
      events: eventsInFile(dataDir, runId),
      subagents: subagentsInFile(dataDir, runId),
      observations,
      ledger: await readLedger(project),
      acknowledged,
      settled: true,
      details: [details?.body],
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
}

/** Plays runs of these plans on a server that dies at a crash point, and on the next one. All but those that wait have ended. */
export async function crashAndContinue(
  site: CrashSite,
  at: string,
  plans: readonly Plan[],
): Promise<PlannedRuns> {
  const runs = await PlannedRuns.on(site, plans)
  site.crashAt(at)
  await runs.play()
  await expectKilled(site)
  site.restart()
  await runs.play()
  return runs
}

export async function expectKilled({ server }: CrashSite): Promise<void> {
  expect(await server.exit, server.output).toEqual({ code: null, signal: 'SIGKILL' })
}

async function play(run: PlannedRun, client: Client, gone: AbortSignal): Promise<void> {
  const { body, answers } = run.plan
  const request = { goal: 'shell-goal', model_name: 'scripted', cwd: run.project, ...body }
  const runId = await client.create(run.key, request)
  if (runId === null) return
  run.runId = runId
  run.acknowledged.push({ type: 'created' })
  const enough = new AbortController()
  const reactions: Promise<void>[] = []
  const onFrame = (frame: Frame): void => {
    if (frame.kind === 'approval_required') reactions.push(allow(run, runId, frame, client))
    if (frame.kind === 'run_paused') reactions.push(change(run, runId, client))
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

async function change(run: PlannedRun, runId: string, client: Client): Promise<void> {
  const { changes } = run.plan
  if (changes === undefined) return
  const changed = await client.send('PATCH', `/api/runs/${runId}/config`, changes)
  if (changed?.status === 200) run.acknowledged.push({ type: 'configured', changes })
}

async function answer(run: PlannedRun, runId: string, seq: number, client: Client): Promise<void> {
  await change(run, runId, client)
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
