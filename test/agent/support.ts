import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { okAsync } from 'neverthrow'
import { onTestFinished } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import type { Effects } from '../../src/agent/run/effects.ts'
import type { SubagentRules } from '../../src/agent/subagents/subagents.ts'
import { Supervisor } from '../../src/agent/supervisor/supervisor.ts'
import type { Toolbox } from '../../src/agent/tools/tool.ts'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { type Artifacts, createArtifacts } from '../../src/artifacts/artifacts.ts'
import { cleanCopies } from '../../src/carry/clean-copy.ts'
import { FolderLocks } from '../../src/carry/folder-locks.ts'
import { findGoal } from '../../src/checks/catalogue.ts'
import type { Goal } from '../../src/checks/goal.ts'
import type { RunCommand as Command } from '../../src/domain/commands.ts'
import type { IsolationPolicy } from '../../src/domain/isolation.ts'
import { present } from '../../src/domain/present.ts'
import type { Kind, PayloadOf, ProjectContext, RunRecord } from '../../src/domain/records.ts'
import type { ProjectFolder, RunConfig } from '../../src/domain/run-config.ts'
import { LiveParts } from '../../src/live/live-parts.ts'
import { decode } from '../../src/log/codec.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { load, streamOf } from '../../src/log/run-log.ts'
import { processMask } from '../../src/masking/process-mask.ts'
import { RunServers } from '../../src/mcp/run-servers.ts'
import { NO_SERVERS } from '../../src/mcp/servers.ts'
import { createModels } from '../../src/models/models.ts'
import type { RunCommand } from '../../src/runner/command.ts'
import { runCommand as runInProcess } from '../../src/runner/run-command.ts'
import { NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { folderAt } from '../../src/sandbox/project-folder.ts'
import { RunFiles, snapshotsOf } from '../../src/snapshots/run-files.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { configOf } from '../checks/support.ts'
import { startProcess, writeFiles } from '../runner/support.ts'
import { memoryStore } from '../support/memory-store.ts'
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
    mcp_servers: ______,
    within: _______,
    ...request
  }) =>
    okAsync({
      config: { ...request, goal, shell_goal: null },
      system_prompt: 'You help.',
      isolation: ISOLATION,
      project: folderAt(request.cwd),
      server_approvals: [],
    }),
}

export const PRICES = {
  input_usd_per_mtok: 10,
  output_usd_per_mtok: 100,
  cached_input_usd_per_mtok: 1,
  cache_write_usd_per_mtok: 12.5,
}

/** Models at the address of a script, of which the one that runs ask by default has these prices. */
export const pricedModels = (url: string) => {
  const priced = { prices: PRICES, windowTokens: 200_000, maxOutputTokens: 20_000 }
  return createModels({ RETRAI_LLM_BASE_URL: url, ownModels: new Map([['scripted', priced]]) })
}

/** Reading a project starts a process for each run, and few tests are about what it says. */
const NO_CONTEXT: ProjectContext = { documents: [], files: null, git: null, programs: null }

/** What scripts run most, done here: a bash costs more than the rest of a turn. Null: it ends with exit code 1. */
const QUICK: readonly (readonly [
  RegExp,
  (cwd: string, ...parts: string[]) => string | null | Promise<string>,
])[] = [
  [/^test -f ([\w.-]+)$/, (cwd, file = '') => (existsSync(join(cwd, file)) ? '' : null)],
  [
    /^touch ([\w.-]+)$/,
    (cwd, file = '') => writeFile(join(cwd, file), '', { flag: 'a' }).then(() => ''),
  ],
  [/^printf '(\d+)%0(\d+)d'$/, (_, text = '', zeros) => text + '0'.repeat(Number(zeros))],
  [/^: \d+$/, () => ''],
]

/** Runs commands in processes, except the quick ones. */
const runCommand: RunCommand = async (command) => {
  const { file, args, cwd, signal } = command
  const script = args.at(-1) ?? ''
  const [known, run] = QUICK.find(([pattern]) => pattern.test(script)) ?? []
  if (known === undefined || run === undefined || file !== 'bash' || signal.aborted)
    return runInProcess(command)
  const printed = await run(cwd, ...(known.exec(script) ?? []).slice(1))
  const output = printed ?? ''
  command.onOutput?.(output)
  return {
    end: 'exited',
    exitCode: printed === null ? 1 : 0,
    stdout: output,
    stderr: '',
    output,
    bytes: output.length,
    durationMs: 1,
    ...(command.reports === true && { report: cwd }),
  }
}

/** A last check records the versions of the programs that it finds, and slow ones take longer than the check. */
const FEW_PROGRAMS = present({ PATH: process.env.RETRAI_TEST_PATH })

type Deps = ConstructorParameters<typeof Supervisor>[0]
type AgentOptions = Partial<Omit<Deps, 'effects'>> & {
  readonly unfinished?: readonly string[]
  readonly effects?: Partial<Effects>
  /** The position from which on it follows the log; from its beginning if left out. */
  readonly after?: string | null
}

type Model = Awaited<ReturnType<typeof startScriptedModel>>

/** A store in memory, real tools, real processes and a real HTTP endpoint that answers from a script. */
export class Workshop implements AsyncDisposable {
  readonly folder: string
  readonly project: string
  readonly store: EventStore = memoryStore()
  readonly artifacts: Artifacts
  /** The tools and models of an agent. */
  readonly toolbox: Toolbox
  readonly models: ReturnType<typeof createModels>
  /** The address of the model, and the requests to it so far. */
  readonly url: string
  readonly requests: Model['requests']
  /** What the agents logged. */
  readonly logged: { readonly fields: object; readonly message: string }[] = []
  /** How far the clock of the agents and people is ahead, in seconds. */
  ahead = 0
  readonly #now = () => now() + this.ahead
  /** Whether runs do not wait for others in the same folder. */
  isShared = true
  readonly #model: Model
  readonly #supervisors: Supervisor[] = []

  private constructor(folder: string, model: Model) {
    const artifacts = createArtifacts(join(folder, 'artifacts'))
    this.folder = folder
    this.project = join(folder, 'project')
    this.artifacts = artifacts
    this.toolbox = createToolbox({ runCommand, startProcess, artifacts, subagents: true })
    this.models = createModels({ RETRAI_LLM_BASE_URL: model.url })
    this.url = model.url
    this.requests = model.requests
    this.#model = model
  }

  static async open(script: Script): Promise<Workshop> {
    const folder = await mkdtemp(join(tmpdir(), 'retrai-agent-'))
    const workshop = new Workshop(folder, await startScriptedModel({ script }))
    await mkdir(workshop.project)
    return workshop
  }

  /** The effects of an agent that nobody observes, without sub-agents and MCP servers. */
  get effects(): Effects {
    return {
      models: this.models,
      toolbox: this.toolbox,
      openOutput: async () => null,
      filesOf: async (runId, more = []) => {
        const found = await snapshotsOf(this.store, runId)
        const all = [...found._unsafeUnwrap(), ...more]
        return RunFiles.open(all, this.artifacts, (sha256) => [sha256])
      },
      keepPack: async (pack) => ({ sha256: await this.artifacts.put(pack), bytes: pack.length }),
      keepArtifact: (content) => this.artifacts.put(content),
      readArtifact: (sha256) => this.artifacts.read(sha256),
      log: { warn: this.#note },
      openServers: (onNotice) =>
        new RunServers({ configuration: NO_SERVERS, startProcess, onNotice }),
      openWorkspace,
      openCleanCopy: cleanCopies({ isolation: NO_ISOLATION, openWorkspace, runCommand }),
      readProject: async () => NO_CONTEXT,
      findGoal,
      runCommand,
      variables: FEW_PROGRAMS,
      subagents: { ...SUBAGENTS, maxDepth: 0 },
      dataDir: null,
      obstacle: async () => null,
      untilAvailable: async () => true,
      diskProblem: async () => null,
      forgetRun: async () => {},
      liveParts: new LiveParts(processMask),
      modelRetryMs: [1, 1],
      modelAttempts: 4,
    }
  }

  file(path: string, content: string): Promise<void> {
    return writeFiles(this.project, { [path]: content })
  }

  /** Starts the agent of one process, which takes up `unfinished`. */
  startAgent({
    unfinished = [],
    effects,
    after = null,
    ...changes
  }: AgentOptions = {}): Supervisor {
    const server = randomUUID()
    const supervisor = new Supervisor({
      stopped: new Set(),
      locks: new FolderLocks(),
      store: this.store,
      effects: { ...this.effects, ...effects },
      process: { server, claimant: `${server}/${randomUUID()}`, pid: process.pid, host: 'test' },
      pool: null,
      leaseMs: null,
      maxRunsAtWork: 16,
      now: this.#now,
      newId: randomUUID,
      retryMs: [5, 5],
      log: { info: this.#note, warn: this.#note, error: this.#note },
      ...changes,
    })
    // As a read model lists them. Their claimant does not matter if only one process uses the store.
    const known = { claimant: null, pool: null, resting: false }
    supervisor.start(
      unfinished.map((runId) => ({ runId, ...known })),
      after,
    )
    this.#supervisors.push(supervisor)
    return supervisor
  }

  #note = (fields: object, message: string): void => {
    this.logged.push({ fields, message })
  }

  async create(
    changes: Partial<RunConfig> = {},
    place: { pool?: string; project?: ProjectFolder; isolation?: IsolationPolicy } = {},
  ): Promise<string> {
    const runId = randomUUID()
    const config: RunConfig = {
      ...configOf('shell-goal', this.project, DONE_FILE),
      model_name: 'scripted',
      max_iterations: 5,
      // The last check is made in a copy of the project, and few tests are about it.
      on_tampering: 'off',
      ...(this.isShared ? { shared: true as const } : {}),
      ...changes,
    }
    const created = { runId, config, system_prompt: 'Mend it.', pool: null, ...place }
    await this.command(runId, { type: 'create', ...created })
    return runId
  }

  async command(runId: string, command: Command): Promise<void> {
    const options = { author: { commandId: randomUUID() }, now: this.#now }
    const handled = await handleCommand(this.store, runId, command, options)
    if (handled.isErr()) throw new Error(JSON.stringify(handled.error))
  }

  /** Starts an agent and a run, and returns the records of the run once it has ended. */
  async play(
    config: Partial<RunConfig> = {},
    effects: Partial<Effects> = {},
  ): Promise<RunRecord[]> {
    this.startAgent({ effects })
    return this.until(await this.create(config), 'run_end')
  }

  /**
   * The records of a run, to its end, whose agent is another process after the first record of a kind, or whatever `until`
   * waits for.
   * @param meanwhile what happens while no agent works
   */
  async restarted(
    until: Kind | ((runId: string) => Promise<unknown>),
    config: Partial<RunConfig> = {},
    meanwhile: () => Promise<unknown> = async () => {},
  ): Promise<RunRecord[]> {
    const first = this.startAgent()
    const runId = await this.create(config)
    await (typeof until === 'string' ? this.until(runId, until) : until(runId))
    await first.stop()
    await meanwhile()
    this.startAgent({ unfinished: [runId] })
    return this.until(runId, 'run_end')
  }

  /** The records of a run, up to and with the first of this kind that is not among those in `after`. */
  async until(runId: string, kind: Kind, after = -1): Promise<RunRecord[]> {
    const stop = new AbortController()
    const records: RunRecord[] = []
    const options = { after: -1, signal: stop.signal }
    for await (const item of this.store.subscribeStream(streamOf(runId), options)) {
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
    ;(await load(this.store, runId, { visit }))._unsafeUnwrap()
    return records
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()))
    await this.store.close()
    await this.#model.close()
    await rm(this.folder, { recursive: true, force: true })
  }
}

type OfShop<T> = T | ((shop: Workshop) => T | Promise<T>)

/**
 * A run of this script, from its beginning to its end, in a project with these files. The workshop is closed after the test.
 */
export async function played(
  script: Script,
  config: OfShop<Partial<RunConfig>> = {},
  effects: OfShop<Partial<Effects>> = {},
  files: Readonly<Record<string, string | Buffer>> = {},
) {
  const shop = await Workshop.open(script)
  onTestFinished(() => shop[Symbol.asyncDispose]())
  await writeFiles(shop.project, files)
  const of = <T>(given: OfShop<T>) => (given instanceof Function ? given(shop) : given)
  const records = await shop.play(await of(config), await of(effects))
  const results = payloadsOf(records, 'tool_result')
  return { shop, records, results, requests: shop.requests, end: only(records, 'run_end').payload }
}

/** Goals of any name that are checked so. */
export const goalsWith =
  (check: Goal['check']) =>
  (name: string): Goal => ({
    name,
    description: '',
    prompt: '',
    check,
  })

/** The payloads of all records of this kind. */
export const payloadsOf = <K extends Kind>(records: readonly RunRecord[], kind: K) =>
  records
    .filter((record): record is Extract<RunRecord, { kind: K }> => record.kind === kind)
    .map(({ payload }) => payload as PayloadOf<K>)

/** The only record of this kind. */
export function only<K extends Kind>(records: readonly RunRecord[], kind: K) {
  const found = records.filter((record) => record.kind === kind)
  if (found.length !== 1) throw new Error(`${found.length} records of kind ${kind}`)
  return found[0] as Extract<RunRecord, { kind: K }>
}
