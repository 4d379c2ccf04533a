import { once } from 'node:events'
import { chmod, link, lstat, mkdir, mkdtemp, rm, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { err, fromThrowable, ok, type Result, ResultAsync } from 'neverthrow'
import type { Logger } from 'pino'
import { signingWith } from '../checkpoints/keyring.ts'
import type { Level } from '../domain/isolation.ts'
import type { buildApp } from '../http/app.ts'
import { messageOf } from '../lib/message-of.ts'
import { removeFolder } from '../lib/remove-folder.ts'
import { RecentArtifacts } from '../retention/recent-artifacts.ts'
import { removeControlGroup } from '../runner/control-group.ts'
import { Runner } from '../runner/runner.ts'
import { around } from './around.ts'
import { type Commands, chooseCommands } from './commands.ts'
import { readConfiguration } from './configuration.ts'
import { openIdentity } from './data-folder.ts'
import { joinRooms } from './join-rooms.ts'
import { openArtifacts, shareArtifacts } from './open-artifacts.ts'
import { openHistory, type Parts } from './open-history.ts'
import { type Settings, secretsOf } from './settings.ts'
import {
  doubtsAbout,
  reportCommands,
  unfinishedImports,
  warnOfLocalAdmins,
  warnOfShortSecrets,
} from './start-notices.ts'

/** What a person wants to know of a server at its start. */
export type About = {
  /** How it isolates commands; null if it refuses them. */
  readonly isolation: Level | null
  /** The model of runs that name none, and why that cannot be called; null if it can. */
  readonly model: string
  readonly modelProblem: string | null
}

export type Server = {
  /** Where it listens, such as `http://127.0.0.1:8000`. */
  readonly url: string
  /** Resolves to true once the server is ready: the store answers and the read model is up to date; to false if it stops before. */
  readonly ready: Promise<boolean>
  readonly about: About
  /** Ends sockets, requests and the work on runs. The next start continues unfinished runs. */
  close(): Promise<void>
}

type StartOptions = {
  readonly log: Logger
  /** How long after the start the stored data is verified first, milliseconds, if not by default. */
  readonly verifyAfterMs?: number
  /** Called if the store holds another log than before: close this server then, and start another one. */
  readonly onLogReplaced?: () => void
}

/** How long a start waits until all recorded redactions are done, and then until all removed runs are gone. */
const REDACTED_WITHIN_MS = 5_000

/**
 * Joins store, projections, agent and HTTP into a server. If EventStoreDB is not reachable, the server listens and
 * waits for it. The error is a text for people.
 */
export async function startServer(
  settings: Settings,
  options: StartOptions,
): Promise<Result<Server, string>> {
  const { log } = options
  const runner = new Runner(log)
  const connected = fromThrowable(() => runner.connect(), String)()
  if (connected.isErr()) {
    return err(`The process that runs commands cannot be started: ${connected.error}`)
  }
  warnOfShortSecrets(secretsOf(settings), log)
  for (const { message, fix } of doubtsAbout(settings, process.env)) log.warn({ fix }, message)
  // If a step fails, everything that was opened before is closed, in the opposite order.
  await using opened = new AsyncDisposableStack()
  opened.defer(() => runner.close())
  const configured = await readConfiguration(settings)
  if (configured.isErr()) return err(configured.error)
  warnOfShortSecrets(configured.value.secrets, log)
  const identity = await openIdentity(settings)
  if (identity.isErr()) return err(identity.error)
  // A trial takes a moment, in which the stores are opened.
  const choosing = chooseCommands(settings, runner)
  opened.defer(() => forgetCommands(choosing))
  const { promise, resolve: published } = Promise.withResolvers<boolean>()
  const signing = signingWith(identity.value.keyring, promise)
  const history = await openHistory(settings, { ...options, opened, sign: signing })
  if (history.isErr()) return err(history.error)
  // Reports of checks, which an earlier version that was killed has left.
  await removeFolder(join(settings.RETRAI_DATA_DIR, 'checks')).catch(() => {})
  const commands = await choosing
  reportCommands(commands, log)
  const { ledger, redactor, auth, readModel, projector } = history.value
  const places = openArtifacts(settings, ledger)
  if (places.isErr()) return err(places.error)
  const artifacts = new RecentArtifacts(around.artifacts(places.value.artifacts))
  const store = artifacts.noting(history.value.store)
  const parts: Parts = { settings, log, store, artifacts, readModel, projector }
  const joined = await joinRooms(parts, {
    ...configured.value,
    ...identity.value,
    ...history.value,
    ...commands,
    runner,
    opened,
    verifyAfterMs: options.verifyAfterMs,
    published,
    ledger: artifacts.noting(ledger),
  })
  const { app, supervisor, redactions, remover, catalogue, integrity, tidyCopies } = joined
  // Every part that keeps texts is registered now.
  redactions.start()
  await redactor.settled(REDACTED_WITHIN_MS)
  remover.start()
  opened.defer(() => remover.stop())
  await remover.settled(REDACTED_WITHIN_MS)
  const sharing = shareArtifacts(places.value, redactor, log)
  opened.defer(() => sharing.stop())
  const traces = await startTracing(parts, history.value.retention.isGone)
  opened.defer(() => traces?.stop())

  const url = await listen(app, settings)
  if (url.isErr()) return err(url.error)
  const { RETRAI_LISTEN: address } = settings
  if ('socket' in address) opened.defer(() => removeSocket(address.socket))
  void warnOfLocalAdmins(settings, auth, log)
  const imports = await unfinishedImports(settings, log)
  // This comes first: if the stop is cut short, it must not count as a crash.
  opened.defer(joined.noteStop)
  const running = opened.move()
  const { isolation } = commands
  // The unfinished runs are known when the read model is up to date. Until then the server is not ready.
  const startWork = async (caughtUp: boolean): Promise<void> => {
    if (!caughtUp || running.disposed) return
    const { runs, asOf } = readModel.unfinished()
    const unfinished = runs.filter(({ runId }) => !imports.has(runId))
    await isolation.forgetAllBut(new Set(unfinished.map(({ runId }) => runId)))
    // What somebody has cut off a log is found before runs continue from what is left.
    await integrity.compared
    if (running.disposed) return
    supervisor.start(unfinished, asOf)
    void tidyCopies()
  }
  projector
    .caughtUpOnce()
    .then(startWork)
    .catch((error) => log.fatal({ err: error }, 'no run is worked on: restart the server'))
  const { name: model, problem: modelProblem } = catalogue.default
  return ok({
    url: url.value,
    about: { isolation: isolation.level, model, modelProblem },
    ready: projector.caughtUpOnce(),
    close: () => running.disposeAsync(),
  })
}

/** Exports traces if a collector is set; null if none is. */
async function startTracing({ settings, store, log }: Parts, isGone: (stream: string) => boolean) {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = settings
  if (endpoint === undefined) return null
  const file = join(settings.RETRAI_DATA_DIR, 'traces.json')
  // Loaded only here, so that other servers do not wait for it.
  const { startTraces } = await import('../traces/exporter.ts')
  return startTraces({ store, log, endpoint, file, isGone })
}

/** Removes what was made to run commands, once that is known: a start that has failed may still be choosing. */
async function forgetCommands(choosing: Promise<Commands>): Promise<void> {
  const { isolation, limits } = await choosing
  if (limits.limits.group !== null) removeControlGroup(limits.limits.group)
  await isolation.leave()
}

/** Begins to listen; resolves to the address. The error is a text for people, with advice. */
export async function listen(
  app: Pick<Awaited<ReturnType<typeof buildApp>>, 'listen'>,
  { RETRAI_LISTEN: address }: Settings,
): Promise<Result<string, string>> {
  if ('socket' in address) return listenOnSocket(app, address.socket)
  const { host, port } = address
  return ResultAsync.fromPromise(
    app.listen({ host, port }),
    (cause) =>
      `Cannot listen on ${host}:${port}: ${messageOf(cause)}. Choose another port with --port (0 finds a free one), or an address of this machine with --host.`,
  )
}

type Listener = { listen(options: { readonly path: string }): Promise<unknown> }

/**
 * Begins to listen on a unix socket that only this user can open. A socket that nothing listens on is replaced; a file
 * of another kind or of another user is not. The error is a text for people, with advice.
 */
async function listenOnSocket(app: Listener, path: string): Promise<Result<string, string>> {
  const advice = 'Choose another path with RETRAI_LISTEN=unix:PATH.'
  try {
    const inTheWay = await clear(path)
    if (inTheWay !== null) return err(`${path} ${inTheWay}, so it is not replaced. ${advice}`)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await listenPrivately(app, path)
    return ok(`unix:${path}`)
  } catch (cause) {
    return err(`Cannot listen on ${path}: ${messageOf(cause)}. ${advice}`)
  }
}

/** Removes the socket, so that the next client does not find one that nobody listens on. Never rejects. */
const removeSocket = (path: string): Promise<void> => unlink(path).catch(() => {})

/** Removes a socket that a killed server has left. Returns why something else stays. */
async function clear(path: string): Promise<string | null> {
  const found = await lstat(path).catch(() => null)
  if (found === null) return null
  const isLeft = found.isSocket() && found.uid === process.getuid?.() && !(await isListenedOn(path))
  if (isLeft) {
    await unlink(path)
    return null
  }
  if (!found.isSocket()) return 'is not a socket'
  return 'belongs to another user, or another program listens on it'
}

async function isListenedOn(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** The umask decides who may open a new socket, so the socket is made in a folder that only this user can reach. */
async function listenPrivately(app: Listener, path: string): Promise<void> {
  const own = await mkdtemp(join(dirname(path), '.retrai-'))
  try {
    const socket = join(own, 's')
    await app.listen({ path: socket })
    await chmod(socket, 0o600)
    // Unlike a rename, this replaces nothing.
    await link(socket, path)
  } finally {
    await rm(own, { recursive: true, force: true })
  }
}
