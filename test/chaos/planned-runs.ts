import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { Client } from './client.ts'
import { CrashSite } from './crash-site.ts'
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
export class PlannedRun {
  readonly plan: Plan
  readonly project: string
  readonly site: CrashSite
  #runId: string | null = null
  readonly #observations: Observation[] = []
  readonly #acknowledged: Acknowledged[] = []

  private constructor(site: CrashSite, plan: Plan, project: string) {
    this.site = site
    this.plan = plan
    this.project = project
  }

  static async on(site: CrashSite, plan: Plan): Promise<PlannedRun> {
    site.runs += 1
    const project = site.site.path(`run-${site.runs}`, plan.name)
    await mkdir(join(project, PART), { recursive: true })
    await writeFile(join(project, '.retrai.yml'), GOAL)
    // Snapshots leave it out, and it is hashed.
    await mkdir(join(project, 'node_modules'))
    return new PlannedRun(site, plan, project)
  }

  get runId(): string {
    if (this.#runId === null) throw new Error(`the run in ${this.project} was never acknowledged`)
    return this.#runId
  }

  /** Plays it until it has ended, waits for an answer that the plan does not give, or the server is gone. */
  async play(client: Client, gone: AbortSignal): Promise<void> {
    const { body, answers } = this.plan
    const runId = await client.create(this.project, body)
    if (runId === null) return
    this.#runId = runId
    this.#acknowledged.push({ type: 'created' })
    const enough = new AbortController()
    const reactions: Promise<unknown>[] = []
    const onFrame = (frame: Frame): void => {
      const waits = frame.kind === 'human_check_required' && !answers
      if (waits) enough.abort()
      else reactions.push(this.#react(frame, client))
    }
    const signal = AbortSignal.any([gone, enough.signal])
    this.#observations.push(await watch(client.url, runId, { signal, onFrame }))
    await Promise.all(reactions)
  }

  /** Moves its project away, so that no server can work on it. @returns what moves it back */
  async withoutProject(): Promise<() => Promise<void>> {
    await rename(this.project, `${this.project}-away`)
    return () => rename(`${this.project}-away`, this.project)
  }

  /** How many requests the model got for each of its turns. */
  asked(): number[] {
    const counts: number[] = []
    for (const { conversation, turn } of this.site.model.requests) {
      if (conversation.includes(`${this.project}.`)) counts[turn] = (counts[turn] ?? 0) + 1
    }
    return counts
  }

  /** All that is known of it, once it has ended. */
  async evidence(): Promise<Evidence> {
    const { runId } = this
    const { dataDir } = this.site
    const details = await (await this.site.client()).get(`/api/runs/${runId}`)
    return {
      runId,
      events: eventsInFile(dataDir, runId),
      subagents: subagentsInFile(dataDir, runId),
      observations: this.#observations,
      ledger: await readLedger(this.project),
      acknowledged: this.#acknowledged,
      settled: true,
      details: [details?.body],
    }
  }

  /** All that is known of its sub-agents. Nobody watches them. */
  async evidenceOfSubagents({ subagents = [] }: Evidence): Promise<Evidence[]> {
    const ledger = await readLedger(join(this.project, PART))
    return subagents.flatMap((events) => {
      const [first] = events
      if (first === undefined) return []
      const unseen = { observations: [], acknowledged: [], details: [] }
      return [{ runId: runIdIn(first), events, ledger, settled: true, ...unseen }]
    })
  }

  /** What the person does about a record. If they did it before, the server refuses it. */
  async #react({ kind, seq, payload }: Frame, client: Client): Promise<unknown> {
    if (kind === 'run_paused') return this.#change(client)
    if (kind === 'human_check_required') return this.#answer(seq, client)
    if (kind !== 'approval_required') return undefined
    const allowing = { decision: 'allow', call_sha256: payload.call_sha256 }
    return this.#command(client, { type: 'allowed', seq }, 'POST', `approvals/${seq}`, allowing)
  }

  async #change(client: Client): Promise<void> {
    const { changes } = this.plan
    if (changes === undefined) return
    await this.#command(client, { type: 'configured', changes }, 'PATCH', 'config', changes)
  }

  async #answer(seq: number, client: Client): Promise<void> {
    await this.#change(client)
    const key = `${this.plan.name}-${seq}`
    const words = { text: 'Please finish it.' }
    const named = { 'idempotency-key': key }
    await this.#command(client, { type: 'said', key }, 'POST', 'messages', words, named)
    const decision = { decision: 'approve', seq } as const
    await this.#command(client, { type: 'resumed', ...decision }, 'POST', 'resume', decision)
  }

  #command(
    client: Client,
    promise: Acknowledged,
    ...[method, path, ...request]: Parameters<Client['send']>
  ): Promise<unknown> {
    const command = [method, `/api/runs/${this.runId}/${path}`, ...request] as const
    return client.command(this.#acknowledged, promise, ...command)
  }
}

/** Plays runs on the server of a site until each of them is as far as it comes, or the server is gone. */
export async function play({ server }: CrashSite, runs: readonly PlannedRun[]): Promise<void> {
  const url = await server.url
  if (url === null) return
  const gone = new AbortController()
  void server.exit.then(() => gone.abort())
  const client = new Client(url, gone.signal)
  await Promise.all(runs.map((run) => run.play(client, gone.signal)))
}

export async function expectKilled({ server }: CrashSite): Promise<void> {
  expect(await server.exit, server.output).toEqual({ code: null, signal: 'SIGKILL' })
}

/** A run of this plan, and the crash points at which its servers die, one after the other. */
export type Case = { readonly plan: Plan; readonly at: readonly string[] }

/** How long a server may take to reach its crash points, milliseconds. */
const PATIENCE_MS = 200_000

/**
 * Plays a run for each case on servers that die when each of them is at its next point, and on the one after them. All cases have as
 * many points.
 * @param between is called after each death
 * @returns the runs, and the points that were reached
 */
export async function crashAndContinue(
  site: CrashSite,
  cases: readonly Case[],
  { between = async () => {}, patienceMs = PATIENCE_MS }: Between = {},
) {
  const runs = await Promise.all(cases.map(({ plan }) => PlannedRun.on(site, plan)))
  const held: string[] = []
  for (const round of cases[0]?.at.keys() ?? []) {
    const points = cases.map(({ at }, n) => `${at[round]} in ${runs[n]?.project}`)
    if (round === 0) site.crashAt(...points)
    else site.restart(...points)
    const tooLong = setTimeout(() => site.kill(), patienceMs)
    await play(site, runs)
    await expectKilled(site)
    clearTimeout(tooLong)
    held.push(...(await site.held).map((text) => text.replace(/ in \/.*/, '')))
    await between(runs)
  }
  site.restart()
  await play(site, runs)
  return { runs, held }
}
type Between = {
  readonly between?: (runs: readonly PlannedRun[]) => Promise<void>
  readonly patienceMs?: number
}

/** Each run at work has a process for its files. */
const AT_ONCE = 32
const SETTINGS = { RETRAI_MAX_RUNS_AT_WORK: String(2 * AT_ONCE) }
/** How long all of that may take on a machine that is busy, milliseconds. */
const AMPLE_MS = 600_000

/**
 * Before the tests of a file, servers die in the runs of all cases.
 * @param settings of all servers
 * @returns the run of a case
 */
export function crashed<C extends Case>(
  cases: readonly C[],
  settings?: Readonly<Record<string, string>>,
  between?: Between['between'],
): (one: C) => PlannedRun {
  let site: CrashSite | undefined
  const played = new Map<C, PlannedRun>()
  beforeAll(async () => {
    site = await CrashSite.open({ ...SETTINGS, ...settings })
    for (let from = 0; from < cases.length; from += AT_ONCE) {
      const some = cases.slice(from, from + AT_ONCE)
      const { runs, held } = await crashAndContinue(site, some, { ...(between && { between }) })
      expect(held.toSorted()).toEqual(some.flatMap(({ at }) => at).toSorted())
      for (const [n, run] of runs.entries()) played.set(some[n] as C, run)
    }
  }, AMPLE_MS)
  afterAll(() => site?.[Symbol.asyncDispose]())
  return (one) => {
    const run = played.get(one)
    if (run === undefined) throw new Error(`nothing was played for ${one.at}`)
    return run
  }
}
