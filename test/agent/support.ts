import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { okAsync } from 'neverthrow'
import type { Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import type { Effects } from '../../src/agent/effects.ts'
import { findGoal } from '../../src/agent/goals/catalogue.ts'
import { InstalledPrograms } from '../../src/agent/installed-programs.ts'
import { createModels } from '../../src/agent/model/models.ts'
import { projectContext } from '../../src/agent/project-context.ts'
import type { SubagentRules } from '../../src/agent/subagents.ts'
import { Supervisor } from '../../src/agent/supervisor.ts'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import type { PersonCommand } from '../../src/domain/commands.ts'
import type { IsolationPolicy } from '../../src/domain/isolation.ts'
import type { Kind, RunRecord } from '../../src/domain/records.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { decode } from '../../src/log/codec.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { load, streamOf } from '../../src/log/run-log.ts'
import { folderAt } from '../../src/runner/isolation/project-folder.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { startProcess } from '../runner/support.ts'
import { openWorkspace } from '../workspace/support.ts'

const now = () => Date.now() / 1000

/** A goal that a file named `done` in the project reaches. */
const DONE_FILE: RunConfig['shell_goal'] = {
  check_command: 'test -f done',
  success_condition: { exit_code: 0 },
}
export const reachGoal = { tool: 'bash_exec', args: { command: 'touch done' } }

const ISOLATION: IsolationPolicy = {
  level: 'none',
  network: 'host',
  visible: [],
  writable: [],
  protected: [],
  limits: {},
  policy_sha256: '0'.repeat(64),
}

/** Sub-agents of which every request is planned as it is. */
export const SUBAGENTS: SubagentRules = {
  maxDepth: 2,
  maxPerRun: 20,
  planRun: ({
    goal = 'instructions',
    check: _,
    all_of: __,
    goal_options: ___,
    isolation: ____,
    command_limits: _____,
    mcp_servers: ______,
    within: _______,
    ...request
  }) =>
    okAsync({
      config: { ...request, goal, shell_goal: null },
      systemPrompt: 'You help.',
      isolation: ISOLATION,
      project: folderAt(request.cwd),
      serverApprovals: [],
      warnings: [],
    }),
}

/** As a read model lists it. Its claimant does not matter if only one process uses the store. */
export const unfinishedRun = (runId: string) => ({
  runId,
  claimant: null,
  pool: null,
  resting: false,
})

/** A real store, real tools, real processes and a real HTTP endpoint that answers from a script. */
export class Workshop implements AsyncDisposable {
  readonly folder: string
  readonly project: string
  readonly store: EventStore
  /** What the agents logged. */
  readonly logged: { readonly fields: object; readonly message: string }[] = []
  readonly #model: Awaited<ReturnType<typeof startScriptedModel>>
  readonly #supervisors: Supervisor[] = []

  private constructor(
    folder: string,
    store: EventStore,
    model: Awaited<ReturnType<typeof startScriptedModel>>,
  ) {
    this.folder = folder
    this.project = join(folder, 'project')
    this.store = store
    this.#model = model
  }

  static async open(script: Script): Promise<Workshop> {
    const folder = await mkdtemp(join(tmpdir(), 'retrai-agent-'))
    const store = await openEmbeddedStore({ file: join(folder, 'log.sqlite') })
    const model = await startScriptedModel({ script })
    const workshop = new Workshop(folder, store._unsafeUnwrap(), model)
    await mkdir(workshop.project)
    return workshop
  }

  /** The address of the model. */
  get url(): string {
    return this.#model.url
  }

  /** The requests to the model so far. */
  get requests() {
    return this.#model.requests
  }

  /** The tools of an agent. */
  get toolbox() {
    const artifacts = createArtifacts(join(this.folder, 'artifacts'))
    const commands = { runCommand, startProcess }
    return createToolbox({
      ...commands,
      artifacts,
      dataDir: null,
      subagents: true,
    })
  }

  /** The models of an agent. */
  get models() {
    return createModels({ llmBaseUrl: this.#model.url }, { timeoutMs: 5_000 })
  }

  async file(path: string, content: string): Promise<void> {
    await mkdir(dirname(join(this.project, path)), { recursive: true })
    await writeFile(join(this.project, path), content)
  }

  /** Starts the agent of one process. It takes up `unfinished` and follows the log, from its beginning or after a position. */
  startAgent(
    unfinished: readonly string[] = [],
    changes: Partial<Effects> = {},
    maxRunsAtWork = 16,
    leaseMs: number | null = null,
    pool: string | null = null,
    after: string | null = null,
  ): Supervisor {
    const server = randomUUID()
    const { toolbox } = this
    const programs = new InstalledPrograms(runCommand)
    const supervisor = new Supervisor({
      stopped: new Set(),
      store: this.store,
      effects: {
        models: this.models,
        toolbox,
        openWorkspace,
        readProject: (project, files, signal) =>
          projectContext(project, { programs, workspace: files, signal }),
        findGoal,
        runCommand,
        dataDir: null,
        reportsDir: join(this.folder, 'checks'),
        modelRetryMs: [1, 1],
        modelAttempts: 4,
        ...changes,
      },
      process: { server, claimant: `${server}/${randomUUID()}`, pid: process.pid, host: 'test' },
      pool,
      leaseMs,
      now,
      newId: randomUUID,
      retryMs: [5, 5],
      maxRunsAtWork,
      log: { info: this.#note, warn: this.#note, error: this.#note },
    })
    supervisor.start(unfinished.map(unfinishedRun), after)
    this.#supervisors.push(supervisor)
    return supervisor
  }

  #note = (fields: object, message: string): void => {
    this.logged.push({ fields, message })
  }

  async create(changes: Partial<RunConfig> = {}, pool: string | null = null): Promise<string> {
    const runId = randomUUID()
    const config: RunConfig = {
      goal: 'shell-goal',
      cwd: this.project,
      model_name: 'scripted',
      max_iterations: 5,
      hitl_enabled: false,
      max_cost_usd: null,
      max_tokens: null,
      max_seconds: null,
      shell_goal: DONE_FILE,
      ...changes,
    }
    await this.command(runId, { type: 'create', runId, config, systemPrompt: 'Mend it.', pool })
    return runId
  }

  async command(runId: string, command: PersonCommand): Promise<void> {
    const options = { author: { commandId: randomUUID() }, now }
    const handled = await handleCommand(this.store, runId, command, options)
    if (handled.isErr()) throw new Error(JSON.stringify(handled.error))
  }

  /** The records of a run, up to and with the first of this kind that is not among those in `after`. */
  async until(runId: string, kind: Kind, after = -1): Promise<RunRecord[]> {
    const stop = new AbortController()
    const records: RunRecord[] = []
    const subscription = this.store.subscribeStream(streamOf(runId), {
      after: -1,
      signal: stop.signal,
    })
    for await (const item of subscription) {
      if (item.type !== 'events') continue
      for (const event of item.events) {
        records.push(decode(event)._unsafeUnwrap().record)
        if (event.type === kind && event.revision > after) {
          stop.abort()
          return records
        }
      }
    }
    throw new Error('the subscription ended')
  }

  async records(runId: string): Promise<RunRecord[]> {
    const records: RunRecord[] = []
    const visit = ({ record }: { record: RunRecord }) => records.push(record)
    const loaded = await load(this.store, runId, { visit })
    loaded._unsafeUnwrap()
    return records
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()))
    await this.store.close()
    await this.#model.close()
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** The only record of this kind. */
export function only<K extends Kind>(records: readonly RunRecord[], kind: K) {
  const found = records.filter((record) => record.kind === kind)
  if (found.length !== 1) throw new Error(`${found.length} records of kind ${kind}`)
  return found[0] as Extract<RunRecord, { kind: K }>
}
