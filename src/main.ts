import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { Logger } from 'pino'
import { createArtifacts } from './agent/artifacts.ts'
import { exponential, untilAborted } from './agent/backoff.ts'
import { findGoal, goals } from './agent/goals/catalogue.ts'
import { systemPrompt } from './agent/goals/prompt.ts'
import { createModels } from './agent/model/models.ts'
import { planRun } from './agent/plan-run.ts'
import { runCommand } from './agent/process/run-command.ts'
import type { Effects } from './agent/run-loop.ts'
import { Supervisor } from './agent/supervisor.ts'
import { createToolbox } from './agent/tools/toolbox.ts'
import type { Config } from './config.ts'
import { buildApp } from './http/app.ts'
import { type Projector, startProjector } from './projections/projector.ts'
import { openReadModel, type SqliteReadModel } from './projections/sqlite-read-model.ts'
import { openEmbeddedStore } from './store/embedded/embedded-store.ts'
import type { EventStore } from './store/event-store.ts'
import { ensureLogId } from './store/log-id.ts'

export type Server = {
  /** Where it listens, such as `http://127.0.0.1:8000`. */
  readonly url: string
  /** Ends sockets, requests and work under way; unfinished runs go on when it is started again. */
  close(): Promise<void>
}

type StartOptions = {
  readonly log: Logger
  /** Aborts the start while it waits for a store that is not there yet. */
  readonly signal: AbortSignal
}

/** Seconds since the epoch, with a fraction: the clock of all records. */
const now = (): number => Date.now() / 1000
const storeBackoff = exponential(100, 5_000)

/** Puts the rooms together: store, projections, agent, HTTP. The error is a text for people. */
export function startServer(config: Config, options: StartOptions): ResultAsync<Server, string> {
  return new ResultAsync(start(config, options))
}

async function start(
  config: Config,
  { log, signal }: StartOptions,
): Promise<Result<Server, string>> {
  const dataDir = config.RETRAI_DATA_DIR
  const made = await ResultAsync.fromPromise(mkdir(dataDir, { recursive: true }), String)
  if (made.isErr()) return err(`The data folder ${dataDir} cannot be made: ${made.error}`)
  const store = await openStore(config, log)
  if (store.isErr()) return err(store.error)
  const logId = await awaitLogId(store.value, { log, signal })
  if (logId.isErr()) return err(logId.error)
  const file = join(dataDir, 'read-model.sqlite')
  const readModel = openReadModel({ file, logId: logId.value, log })
  if (readModel.isErr()) return err(readModel.error.message)
  const projector = startProjector({ store: store.value, readModel: readModel.value, log })
  return listen(config, log, store.value, readModel.value, projector)
}

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

/** The log must tell its identity before anything can be derived from it. */
async function awaitLogId(
  store: EventStore,
  { log, signal }: StartOptions,
): Promise<Result<string, string>> {
  for (let failures = 0; ; failures += 1) {
    const logId = await ensureLogId(store)
    if (logId.isOk()) return ok(logId.value)
    log.warn({ error: logId.error }, 'the store does not answer yet, trying again')
    if (!(await untilAborted(storeBackoff(failures), signal))) {
      return err('stopped while waiting for the store')
    }
  }
}

async function listen(
  config: Config,
  log: Logger,
  store: EventStore,
  readModel: SqliteReadModel,
  projector: Projector,
): Promise<Result<Server, string>> {
  const effects = createEffects(config)
  const { models } = effects
  const ceilings = {
    max_cost_usd: config.RETRAI_MAX_COST_USD ?? null,
    max_tokens: config.RETRAI_MAX_TOKENS ?? null,
    max_seconds: config.RETRAI_MAX_SECONDS ?? null,
  }
  const app = await buildApp({
    store,
    readModel,
    goals,
    planRun: (request) => planRun(request, { goals, models, systemPrompt, ceilings }),
    missingKey: (modelName) => models.missingKey(modelName),
    clock: now,
    defaults: { cwd: process.cwd(), model_name: 'claude-sonnet-4-6', max_iterations: 20 },
    ready: () => readiness(store, readModel),
    security: { token: config.RETRAI_TOKEN ?? null },
    logger: log,
  })
  const supervisor = new Supervisor({
    store,
    effects,
    process: { claimant: randomUUID(), pid: process.pid, host: hostname() },
    now,
    newId: randomUUID,
    backoff: storeBackoff,
    maxRunsAtWork: config.RETRAI_MAX_RUNS_AT_WORK,
    log,
  })
  let closing = false
  const close = async (): Promise<void> => {
    closing = true
    await Promise.all([supervisor.stop(), app.close()])
    await projector.stop()
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
  // Work begins once it is known which runs are unfinished; until then the server is not ready.
  void projector.caughtUpOnce().then((caughtUp) => {
    if (caughtUp && !closing) supervisor.start(readModel.unfinished(), projector.checkpoint())
  })
  return ok({ url: listening.value, close })
}

function createEffects(config: Config): Effects {
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
      artifacts: createArtifacts(join(config.RETRAI_DATA_DIR, 'artifacts')),
    }),
    findGoal,
    runCommand,
    modelBackoff: exponential(1_000, 30_000),
    modelAttempts: 6,
  }
}

async function readiness(store: EventStore, readModel: SqliteReadModel) {
  const answer = await store.ping()
  const storeCheck = answer.match(
    () => ({ ok: true }),
    ({ message }) => ({ ok: false, detail: message }),
  )
  const projections = readModel.caughtUp
    ? { ok: true }
    : { ok: false, detail: 'The read model is still being brought up to date with the log.' }
  return { ready: storeCheck.ok && projections.ok, checks: { store: storeCheck, projections } }
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
