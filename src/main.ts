import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { Logger } from 'pino'
import { Access } from './access/access.ts'
import { type Artifacts, createArtifacts } from './agent/artifacts.ts'
import { exponential } from './agent/backoff.ts'
import { findGoal, goals } from './agent/goals/catalogue.ts'
import { systemPrompt } from './agent/goals/prompt.ts'
import { createModels } from './agent/model/models.ts'
import { planRun } from './agent/plan-run.ts'
import { runCommand } from './agent/process/run-command.ts'
import type { Effects } from './agent/run-loop.ts'
import { Supervisor } from './agent/supervisor.ts'
import { createToolbox } from './agent/tools/toolbox.ts'
import { AccessRecorder } from './audit/access-recorder.ts'
import { createAudit } from './audit/audit.ts'
import { startCheckpoints } from './audit/checkpoint-timer.ts'
import { CheckpointWriter } from './audit/checkpoint-writer.ts'
import { type Keyring, openKeyring } from './audit/keyring.ts'
import { IMPORTS_FOLDER, pendingImports } from './audit/pending-imports.ts'
import { type Config, isLoopback, secretsOf } from './config.ts'
import { withCrashingAppends, withCrashingEffects } from './crash-points.ts'
import { buildApp } from './http/app.ts'
import { type Projector, startProjector } from './projections/projector.ts'
import { openReadModel, type SqliteReadModel } from './projections/sqlite-read-model.ts'
import { createRedactions } from './redaction.ts'
import { ensureServerId } from './server-id.ts'
import { openEmbeddedStore } from './store/embedded/embedded-store.ts'
import type { EventStore, RecordedEvent } from './store/event-store.ts'
import { guardSecrets } from './store/masking.ts'
import { Redactor } from './store/redactor.ts'
import { withRedactions } from './store/with-redactions.ts'

export type Server = {
  /** Where it listens, such as `http://127.0.0.1:8000`. */
  readonly url: string
  /** Ends sockets, requests and work under way; unfinished runs go on when it is started again. */
  close(): Promise<void>
}

/** Seconds since the epoch, with a fraction: the clock of all records. */
const now = (): number => Date.now() / 1000
const date = (): Date => new Date()
const storeBackoff = exponential(100, 5_000)

/**
 * Puts the rooms together: store, projections, agent, HTTP. An EventStoreDB that is away is waited for
 * while the server listens. The error is a text for people.
 */
export function startServer(
  config: Config,
  options: { readonly log: Logger },
): ResultAsync<Server, string> {
  return new ResultAsync(start(config, options.log))
}

async function start(config: Config, log: Logger): Promise<Result<Server, string>> {
  for (const setting of guardSecrets(secretsOf(config))) {
    log.warn(
      { setting },
      'this secret is too short to be masked in what runs record: choose another',
    )
  }
  const dataDir = config.RETRAI_DATA_DIR
  const made = await ResultAsync.fromPromise(mkdir(dataDir, { recursive: true }), String)
  if (made.isErr()) return err(`The data folder ${dataDir} cannot be made: ${made.error}`)
  const keyring = await openKeyring(join(dataDir, 'keys'), date)
  if (keyring.isErr()) return err(keyring.error.message)
  const server = await ensureServerId(join(dataDir, 'server-id'))
  if (server.isErr()) return err(server.error)
  const opened = await openStore(config, log)
  const ledger = opened.map((whole) => withCrashingAppends(whole, config.RETRAI_CRASH_AT))
  if (ledger.isErr()) return err(ledger.error)
  const redactor = new Redactor({ store: ledger.value, log })
  const store = withRedactions(ledger.value, redactor)
  const access = await openAccess(config, log, store)
  if (access.isErr()) {
    await store.close()
    return err(access.error)
  }
  const readModel = openReadModel({ file: join(dataDir, 'read-model.sqlite'), log })
  if (readModel.isErr()) {
    await access.value.close()
    await store.close()
    return err(readModel.error.message)
  }
  const asOfNow = (event: RecordedEvent): RecordedEvent => redactor.apply(event)
  const projector = startProjector({ store, readModel: readModel.value, log, asOfNow })
  const identity = { server: server.value, keyring: keyring.value }
  const stored = { ledger: ledger.value, store, redactor }
  return listen(config, log, identity, access.value, stored, readModel.value, projector)
}

/** The log as it is stored, without what was taken out of it, and who takes it out. */
type Stored = {
  readonly ledger: EventStore
  readonly store: EventStore
  readonly redactor: Redactor
}

/** How long a start waits until all that was recorded to be taken out is gone. */
const REDACTED_WITHIN_MS = 5_000

async function openStore(config: Config, log: Logger): Promise<Result<EventStore, string>> {
  const { EVENTSTORE_URL: connectionString, RETRAI_DATA_DIR: dataDir } = config
  if (connectionString === undefined) {
    const opened = await openEmbeddedStore({ file: join(dataDir, 'log.sqlite') })
    return opened.mapErr(({ message }) => message)
  }
  // Loaded here, so that who does not use it does not wait for its client.
  const { openEventStoreDb } = await import('./store/eventstoredb/eventstoredb-store.ts')
  const opened = await openEventStoreDb({ connectionString, log: (message) => log.warn(message) })
  return opened.mapErr(({ message }) => message)
}

/** How long a server that may not listen without tokens waits to learn whether there are any. */
const TOKENS_WITHIN_MS = 10_000

async function openAccess(
  config: Config,
  log: Logger,
  store: EventStore,
): Promise<Result<Access, string>> {
  const { RETRAI_HOST: host, RETRAI_TOKEN: configured = null, EVENTSTORE_URL } = config
  // An embedded log is always there to be read.
  const kept =
    EVENTSTORE_URL === undefined ? undefined : join(config.RETRAI_DATA_DIR, 'tokens.json')
  const access = await Access.open({ store, configured, clock: now, log, keptIn: kept })
  if (isLoopback(host) || configured !== null) return ok(access)
  const read = await access.read(TOKENS_WITHIN_MS)
  if (read && access.guarded) return ok(access)
  await access.close()
  const why = read ? 'and none was made' : 'and the log cannot be read to see whether there is any'
  return err(
    `This server runs shell commands, so it listens on ${host} only where tokens are asked for, ${why}. Make one with "retrai token create NAME --role admin" and the same --data-dir or --store, or set RETRAI_TOKEN, or keep --host 127.0.0.1.`,
  )
}

async function listen(
  config: Config,
  log: Logger,
  { server, keyring }: { readonly server: string; readonly keyring: Keyring },
  access: Access,
  { ledger, store, redactor }: Stored,
  readModel: SqliteReadModel,
  projector: Projector,
): Promise<Result<Server, string>> {
  const artifacts = createArtifacts(join(config.RETRAI_DATA_DIR, 'artifacts'))
  const effects = withCrashingEffects(createEffects(config, artifacts), config.RETRAI_CRASH_AT)
  const { models, toolbox } = effects
  const ceilings = {
    max_cost_usd: config.RETRAI_MAX_COST_USD ?? null,
    max_tokens: config.RETRAI_MAX_TOKENS ?? null,
    max_seconds: config.RETRAI_MAX_SECONDS ?? null,
  }
  const accessLog = accessRecorder(config, log, store)
  const redactions = createRedactions({ ledger, store, redactor, readModel, artifacts, now, log })
  const app = await buildApp({
    ...(accessLog === null ? {} : { accessLog }),
    store,
    readModel,
    checkpoint: () => readModel.checkpoint,
    artifacts,
    audit: createAudit({ store, runs: readModel, keyring, artifacts, clock: date }),
    contextBudget: (modelName) => models.contextBudget(modelName),
    tools: toolbox.specs,
    goals,
    planRun: (request) => planRun(request, { goals, models, systemPrompt, ceilings }),
    missingKey: (modelName) => models.missingKey(modelName),
    clock: now,
    defaults: { cwd: process.cwd(), model_name: 'claude-sonnet-4-6', max_iterations: 20 },
    ready: () => readiness(store, readModel, projector),
    access,
    redactions,
    live: {
      sockets: config.RETRAI_MAX_SOCKETS,
      socketsPerClient: config.RETRAI_MAX_SOCKETS_PER_CLIENT,
      stallMs: config.RETRAI_SOCKET_STALL_SECONDS * 1000,
    },
    logger: log,
  })
  const supervisor = new Supervisor({
    store,
    effects,
    process: { server, claimant: `${server}/${randomUUID()}`, pid: process.pid, host: hostname() },
    leaseMs: config.EVENTSTORE_URL === undefined ? null : config.RETRAI_LEASE_SECONDS * 1000,
    now,
    newId: randomUUID,
    backoff: storeBackoff,
    maxRunsAtWork: config.RETRAI_MAX_RUNS_AT_WORK,
    log,
  })
  const checkpoints = checkpointing(config, log, { store, runs: readModel, keyring, clock: date })
  redactions.onRedacted((runId) => supervisor.forget(runId))
  redactions.start()
  await redactor.settled(REDACTED_WITHIN_MS)
  let closing = false
  const close = async (): Promise<void> => {
    closing = true
    await Promise.all([supervisor.stop(), app.close(), checkpoints.stop()])
    await Promise.all([projector.stop(), access.close(), accessLog?.stop(), redactor.stop()])
    readModel.close()
    await store.close()
  }
  const { RETRAI_HOST: host, RETRAI_PORT: port } = config
  const listening = await ResultAsync.fromPromise(app.listen({ host, port }), (cause) =>
    listenProblem(cause, host, port),
  )
  if (listening.isErr()) {
    await close()
    return err(listening.error)
  }
  const imports = await pendingImports(join(config.RETRAI_DATA_DIR, IMPORTS_FOLDER))
  for (const run_id of imports) {
    log.warn(
      { run_id },
      'the import of this run was interrupted: it is left as it is, import it again',
    )
  }
  // Work begins once it is known which runs are unfinished; until then the server is not ready.
  void projector.caughtUpOnce().then((caughtUp) => {
    if (!caughtUp || closing) return
    const unfinished = readModel.unfinished().filter(({ runId }) => !imports.has(runId))
    supervisor.start(unfinished, projector.checkpoint())
  })
  return ok({ url: listening.value, close })
}

/** Null where it is switched off. */
function accessRecorder(
  { RETRAI_ACCESS_LOG: mode }: Config,
  log: Logger,
  store: EventStore,
): AccessRecorder | null {
  if (mode === 'off') return null
  return new AccessRecorder({ store, clock: now, log, strict: mode === 'strict' })
}

/** Nothing is written unless it is asked for. */
function checkpointing(
  { RETRAI_CHECKPOINT_SECONDS: seconds }: Config,
  log: Logger,
  deps: ConstructorParameters<typeof CheckpointWriter>[0],
): { stop(): Promise<void> } {
  if (seconds === undefined) return { stop: async () => {} }
  return startCheckpoints(new CheckpointWriter(deps), { seconds, log })
}

function createEffects(config: Config, artifacts: Artifacts): Effects {
  return {
    models: createModels({
      llmBaseUrl: config.RETRAI_LLM_BASE_URL,
      llmApiKey: config.RETRAI_LLM_API_KEY,
      anthropicApiKey: config.ANTHROPIC_API_KEY,
      geminiApiKey: config.GEMINI_API_KEY,
      openaiApiKey: config.OPENAI_API_KEY,
      openaiBaseUrl: config.OPENAI_BASE_URL,
      ollamaHost: config.OLLAMA_HOST,
    }),
    toolbox: createToolbox({
      runCommand,
      artifacts,
    }),
    findGoal,
    runCommand,
    modelBackoff: exponential(1_000, 30_000),
    modelAttempts: 6,
  }
}

/** Whoever asks for readiness is told within this time, milliseconds. */
const PING_WITHIN_MS = 2_000

async function readiness(store: EventStore, readModel: SqliteReadModel, projector: Projector) {
  const storeProblem = await pingProblem(store)
  const behind = 'The read model is still being brought up to date with the log.'
  const projectionProblem = projector.problem() ?? (readModel.caughtUp ? null : behind)
  return {
    ready: storeProblem === null && projectionProblem === null,
    checks: { store: check(storeProblem), projections: check(projectionProblem) },
  }
}

const check = (problem: string | null) =>
  problem === null ? { ok: true } : { ok: false, detail: problem }

/** Null where the store answers now. */
async function pingProblem(store: EventStore): Promise<string | null> {
  const { promise: silence, resolve } = Promise.withResolvers<string>()
  const text = `The store does not answer within ${PING_WITHIN_MS / 1000} seconds.`
  const timer = setTimeout(resolve, PING_WITHIN_MS, text)
  const answer = store.ping().match(
    () => null,
    ({ message }) => message,
  )
  return Promise.race([answer, silence]).finally(() => clearTimeout(timer))
}

function listenProblem(cause: unknown, host: string, port: number): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is taken by another program. Stop it, or choose another port with --port (0 finds a free one).`
  }
  if (code === 'EACCES')
    return `Port ${port} may not be opened by this user. Choose one above 1023.`
  return `Cannot listen on ${host}:${port}: ${message}`
}
