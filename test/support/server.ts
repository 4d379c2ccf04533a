import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { type IncomingMessage, type RequestOptions, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { text as textOf } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import { err, errAsync, okAsync } from 'neverthrow'
import { pino } from 'pino'
import { expect } from 'vitest'
import * as z from 'zod'
import { type Artifacts, createArtifacts } from '../../src/artifacts/artifacts.ts'
import { AccessRecorder, type RecorderDeps } from '../../src/audit/access-recorder.ts'
import { createAudit } from '../../src/audit/audit.ts'
import { Auth } from '../../src/auth/auth.ts'
import { openKeyring, signingWith } from '../../src/checkpoints/keyring.ts'
import { OwnLog } from '../../src/checkpoints/witness/own-log.ts'
import type { AgentCommand } from '../../src/domain/commands.ts'
import type { PayloadOf, RunRecord } from '../../src/domain/records.ts'
import { buildApp } from '../../src/http/app.ts'
import type { AppDeps, ArtifactSource } from '../../src/http/deps.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import type { LoadedRun } from '../../src/log/run-log.ts'
import { Projector } from '../../src/projections/projector.ts'
import { SearchIndex } from '../../src/projections/search/search-index.ts'
import { openReadModel } from '../../src/projections/sqlite-read-model.ts'
import { TagLedger } from '../../src/projections/tag-ledger.ts'
import { withRedactions } from '../../src/redaction/redaction-index.ts'
import { Redactor } from '../../src/redaction/redactor.ts'
import { createRedactions } from '../../src/server/redactions.ts'
import { type EventStore, type RecordedEvent, storeWith } from '../../src/store/event-store.ts'
import { Webhooks } from '../../src/webhooks/webhooks.ts'
import { append, prepare } from './append-records.ts'
import { memoryStore } from './memory-store.ts'

export const GOALS = [
  { name: 'pytest', description: 'All tests pass under pytest' },
  { name: 'npm-test', description: 'npm test succeeds' },
]

export type TestServer = {
  readonly app: FastifyInstance
  readonly auth: Auth
  readonly store: EventStore
  readonly readModel: AppDeps['readModel']
  readonly artifacts: Artifacts
  /** The folder of its keys. */
  readonly keys: string
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  readonly port: number
  /** Starts a run through the API, and records what its agent does then. @returns its id */
  createRun(body?: object, ...reports: Report[]): Promise<string>
  /** Records what the agent does in a run, with the same command handler as the agent. */
  agentDoes(runId: string, ...reports: Report[]): Promise<void>
  stop(): Promise<void>
}

export type ServerOptions = Partial<
  Omit<AppDeps, 'store' | 'readModel' | 'access' | 'accessLog' | 'artifacts'>
> & {
  /** Instead of a folder of its own. */
  readonly artifacts?: ArtifactSource & Partial<Artifacts>
  /** Without it there is no access log. */
  readonly accessLog?: Partial<Omit<RecorderDeps, 'store' | 'log'>>
  /** Whether the index of words follows the log. */
  readonly indexed?: boolean
  /** A token by configuration. */
  readonly token?: string
  /** Wraps the store that the server reads its tokens from. */
  readonly wrapTokenStore?: (store: EventStore) => EventStore
  /** Wraps the store of the server. */
  readonly wrapStore?: (store: EventStore) => EventStore
  readonly wrapReadModel?: (readModel: AppDeps['readModel']) => AppDeps['readModel']
}

/** A logger, and what it has written so far. */
export function logger(level: string) {
  let written = ''
  const write = (chunk: unknown, _encoding: string, done: () => void) => {
    written += String(chunk)
    done()
  }
  return { logger: pino({ level }, new Writable({ write })), written: () => written }
}

const silent = { info: () => {}, warn: () => {}, error: () => {} }

const noFolder = (cwd = '') => ({ field: 'cwd', message: `${cwd} does not exist.` })

/**
 * A small planRun: it knows the goals, and `/` is the only directory. Its runs have one turn an iteration and no first
 * check, so the runs that tests play are short.
 */
const planRun: AppDeps['planRun'] = (request) => {
  const {
    goal = '',
    check: _check,
    goal_options: _options,
    all_of: _all,
    cwd,
    isolation: _,
    max_turns_per_iteration: ___,
    mcp_servers: ____,
    ...rest
  } = request
  const message = `There is no goal "${goal}". Choose one of: pytest, npm-test.`
  const isGoal = goal === 'instructions' || GOALS.some(({ name }) => name === goal)
  const problems = [
    ...(isGoal ? [] : [{ field: 'goal', message }]),
    ...(cwd === '/' ? [] : [noFolder(cwd)]),
  ]
  if (problems.length > 0) return errAsync(problems)
  const config = { goal, cwd, ...rest, shell_goal: null }
  return okAsync({ config, system_prompt: 'Mend it.' })
}

/** A server on a free port: store in memory, projections, HTTP; everything but the agent. */
export async function startTestServer(options: ServerOptions = {}): Promise<TestServer> {
  const {
    wrapStore = same,
    wrapTokenStore = same,
    wrapReadModel = same,
    token = null,
    accessLog,
    artifacts: given,
    indexed = false,
    ...deps
  } = options
  const folder = await mkdtemp(join(tmpdir(), 'retrai-http-'))
  const store = memoryStore()
  const file = join(folder, 'runs.sqlite')
  const projected = openReadModel({ file, log: silent })._unsafeUnwrap()
  const redactor = new Redactor({ store, log: silent })
  const without = withRedactions(store, redactor)
  const asOfNow = (event: RecordedEvent) => redactor.apply(event)
  const projector = new Projector({ store: without, readModel: projected, log: silent, asOfNow })
  await projector.caughtUpOnce()
  const readModel = wrapReadModel(projected)
  const keys = join(folder, 'keys')
  const keyring = (await openKeyring(keys, () => new Date()))._unsafeUnwrap()
  const sign = signingWith(keyring)
  const artifacts: Artifacts = { ...createArtifacts(join(folder, 'artifacts')), ...given }
  const wrapped = wrapStore(without)
  const clock = deps.clock ?? (() => Date.now() / 1000)
  const tags = new TagLedger({ store, sign, log: silent }, projected)
  const search = new SearchIndex({
    store: without,
    readModel: projected,
    projector,
    asOfNow,
    log: silent,
    file: join(folder, 'search.sqlite'),
  })
  if (indexed) search.start()
  const redactions = createRedactions({
    search,
    ledger: store,
    store: wrapped,
    redactor,
    sign,
    readModel: projected,
    now: clock,
    log: silent,
    artifacts,
  })
  const tokens = { store: wrapTokenStore(store), configured: token }
  const auth = new Auth({ ...tokens, sign, clock, log: silent })
  const recorder =
    accessLog && new AccessRecorder({ store: wrapped, sign, clock, log: silent, ...accessLog })
  const webhooks = new Webhooks({
    store: wrapped,
    sign,
    dataDir: folder,
    serverId: randomUUID(),
    clock,
    log: silent,
    hosts: new Set(['127.0.0.1']),
    isGone: () => false,
    laterTags: (runId) => tags.read().map((tagged) => tagged.get(runId)?.tags),
  })
  const app = await buildApp({
    ...(recorder === undefined ? {} : { accessLog: recorder }),
    store: wrapped,
    readModel,
    checkpoint: () => projected.checkpoint,
    artifacts,
    audit: createAudit({
      store: wrapped,
      keyring,
      artifacts,
      clock: () => new Date(),
      ownLog: new OwnLog({ store: wrapped, keyring, serverId: randomUUID() }),
    }),
    contextBudget: async () => 96_000,
    tools: [],
    goals: GOALS,
    fittingGoals: (cwd) => (cwd === '/' ? okAsync(GOALS.slice(1)) : errAsync([noFolder(cwd)])),
    planRun,
    models: async () => [],
    isolationOffer: async () => ({
      level: 'none',
      detail: 'Nothing isolates commands.',
      levels: [],
      hosts: null,
      limits: { memory_bytes: 1, processes: 1, output_bytes: 1, home_bytes: 1 },
    }),
    serverApprovals: [],
    mcpOffer: { servers: [], own: 'commands' },
    changeProblems: async ({ model_name }) =>
      model_name?.startsWith('gemini')
        ? [{ field: 'model_name', message: 'This model needs GEMINI_API_KEY.' }]
        : [],
    carrier: { rollback: noCopy, apply: noCopy, discard: noCopy },
    retention: {
      removalOf: () => undefined,
      removalBeginning: () => undefined,
      holdOf: () => undefined,
      hold: () => okAsync(undefined),
      release: () => okAsync(undefined),
      retain: () => okAsync([]),
    },
    queuePosition: () => null,
    commandsRunning: () => 0,
    webhookPending: () => 0,
    putTags: (runId, given, principal) => tags.put(runId, given, { principal, now: clock() }),
    clock,
    defaults: { cwd: '/', model_name: 'claude-sonnet-4-6', max_iterations: 20 },
    ready: async () => ({ ready: true, checks: { store: { ok: true } } }),
    auth,
    redactions,
    search,
    webhooks,
    ...deps,
  })
  redactions.start()
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const close = async () => {
    await app.close()
    await recorder?.stop()
    await Promise.all([auth.close(), tags.close(), webhooks.close()])
    await search.stop()
    await Promise.all([projector.stop(), redactor.stop()])
    projected.close()
    await store.close()
    await rm(folder, { recursive: true })
  }
  let closed: Promise<void> | undefined
  const stop = () => {
    closed ??= close()
    return closed
  }
  const url = `http://127.0.0.1:${port}`
  return {
    app,
    auth,
    store,
    readModel,
    artifacts,
    keys,
    url,
    port,
    stop,
    createRun: async (body, ...reports) => {
      const runId = await createRun(url, body)
      await agentDoes(store, runId, reports)
      return runId
    },
    agentDoes: (runId, ...reports) => agentDoes(store, runId, reports),
  }
}

const same = <T>(value: T): T => value

const noCopy = async () => err({ type: 'no_copy' } as const)

export type Answer = {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A request with exactly these headers, also those that fetch does not set, such as Host. */
export function rawRequest(
  { port }: Pick<TestServer, 'port'>,
  options: RequestOptions & { readonly body?: string },
): Promise<Answer> {
  const { body, ...rest } = options
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const take = ({ statusCode: status = 0, headers }: IncomingMessage, text: string): void =>
    resolve({ status, headers, body: text })
  request({ host: '127.0.0.1', port, agent: false, ...rest })
    .on('response', async (incoming) => take(incoming, await textOf(incoming)))
    .on('error', reject)
    // An accepted upgrade never becomes a response.
    .on('upgrade', (incoming, socket) => {
      socket.destroy()
      take(incoming, '')
    })
    .end(body)
  return promise
}

/** A request with a JSON body. */
export const json = (method: string, body: unknown): RequestInit => ({
  method,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

async function createRun(url: string, body: object = {}): Promise<string> {
  const answer = await fetch(`${url}/api/runs`, json('POST', { goal: 'pytest', ...body }))
  expect(answer.status).toBe(201)
  return z.object({ run_id: z.uuid() }).parse(await answer.json()).run_id
}

const AUTHOR = { commandId: 'test', principal: 'test' }
const CLAIMANT = 'test-process'

export type Report<C = AgentCommand> = C extends AgentCommand
  ? Omit<C, 'claimant' | 'readOnlyTools'>
  : never

async function agentDoes(
  store: EventStore,
  runId: string,
  reports: readonly Report[],
): Promise<void> {
  for (const report of reports) {
    const by = { claimant: CLAIMANT, readOnlyTools: new Set<string>() }
    const command = { ...report, ...by } as AgentCommand
    const done = await handleCommand(store, runId, command, { author: AUTHOR, now: testNow })
    expect(done.isOk()).toBe(true)
  }
}

const testNow = () => Date.now() / 1000

export const CLAIM: Report = { type: 'claim', expected: null, pid: 1, host: 'test' }

type Message = PayloadOf<'assistant_message'>
type Result = PayloadOf<'tool_result'>

/** The model answers with these calls. */
export const replyWith = (
  tool_calls: Message['tool_calls'],
  more: Partial<Message> = {},
): Report => ({
  type: 'record',
  made: {
    llm_usage: {
      input_tokens: 100,
      output_tokens: 20,
      cost_usd: 0.001,
      model_name: 'claude-sonnet-4-6',
      duration_ms: 5,
      omitted_turns: 0,
    },
    assistant_message: { text: 'Done.', tool_calls, finish_reason: 'stop', ...more },
  },
})

/** A call has ended, well and without output unless `more` says otherwise. */
export const resultOf = (call_id: string, tool: string, more: Partial<Result> = {}): Report => ({
  type: 'record',
  made: {
    tool_result: {
      call_id,
      tool,
      output: '',
      exit_code: 0,
      outcome: 'ok',
      duration_ms: 1,
      bytes: 0,
      truncated: false,
      sha256: null,
      ...more,
    },
  },
})

/** The model answers without a tool call, and the goal is checked. */
export const iteration = (achieved: boolean): Report[] => [
  replyWith([]),
  {
    type: 'record',
    made: {
      goal_check: {
        achieved,
        reason: achieved ? 'All 42 tests passed' : '3 of 42 tests failing',
        details: '',
        duration_ms: 3,
      },
    },
  },
]

/** Appends records as they are, each list in one append. */
export class RunWriter {
  readonly #store: EventStore
  readonly #runId: string
  #run: LoadedRun | null = null

  constructor(store: EventStore, runId: string) {
    this.#store = store
    this.#runId = runId
  }

  async append(records: readonly RunRecord[]): Promise<void> {
    const prepared = prepare(this.#runId, this.#run, records, AUTHOR)
    this.#run = (await append(this.#store, prepared))._unsafeUnwrap()
  }
}

/** The methods of a store, so that a test can replace single ones. */
export const bound = (store: EventStore): EventStore => storeWith(store, {})

/** A read model with another way to wait. */
export const waitingBy = (
  readModel: AppDeps['readModel'],
  waitFor: AppDeps['readModel']['waitFor'],
  more: Partial<AppDeps['readModel']> = {},
): AppDeps['readModel'] => ({
  get: (run) => readModel.get(run),
  list: (query) => readModel.list(query),
  laterTags: (run) => readModel.laterTags(run),
  totals: readModel.totals,
  statuses: () => readModel.statuses(),
  caughtUp: true,
  waitFor,
  ...more,
})

/** The headers of a request for a WebSocket. */
export const UPGRADE = {
  connection: 'upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
}
