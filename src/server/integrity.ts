import { Worker } from 'node:worker_threads'
import { err, ok, type Result } from 'neverthrow'
import type { Logger } from 'pino'
import type { Checkpoint } from '../api/audit.ts'
import { READ_MODEL } from '../audit/verify/beside-log.ts'
import type { Finding } from '../audit/verify/report.ts'
import { lostFinding, verifyHeads } from '../audit/verify/verify-checkpoints.ts'
import {
  CheckpointTimer,
  CheckpointWriter,
  type WriterDeps,
} from '../checkpoints/checkpoint-writer.ts'
import { keepCheckpoint, readKeptCheckpoints, setAside } from '../checkpoints/kept-checkpoints.ts'
import type { Keyring } from '../checkpoints/keyring.ts'
import { knownKeys } from '../checkpoints/public-keys.ts'
import { siblingModule } from '../lib/paths.ts'
import { counted } from '../lib/text.ts'
import { date, type Parts } from './open-history.ts'
import type { ArtifactSettings } from './read-settings.ts'

/** When the whole store is verified: after each start, and once a day. */
const FIRST_AFTER_MS = 30_000
const EVERY_MS = 24 * 3_600_000

/** How many findings are logged one by one. */
const MAX_LOGGED = 20
/** Memory of the thread. A huge log then stops the verification and not the server. */
const MAX_MEMORY_MB = 1_024

/** What the thread that verifies the whole store is given. */
export type Task = { readonly dataDir: string; readonly artifacts: ArtifactSettings }

/** Its only message. */
export type Verdict =
  | { readonly type: 'verified'; readonly records: number; readonly findings: readonly Finding[] }
  | { readonly type: 'failed'; readonly message: string }

const WORKER = siblingModule('verify-worker', import.meta.url)

/** Known problems of the stored data. */
export type Integrity = {
  /** A text that anybody may read, so it has no content of runs; null while no problem is known. */
  detail(): string | null
  /** Resolves when the log has been compared with its last checkpoints, or that has failed. Never rejects. */
  readonly compared: Promise<void>
  /** Keeps a checkpoint outside of the log, so that a log that was reset to an earlier state is found. */
  keep(checkpoint: Checkpoint): Promise<void>
  stop(): Promise<void>
}

type Deps = Pick<Parts, 'settings' | 'log' | 'store' | 'readModel'> & { readonly keyring: Keyring }

/**
 * Verifies the stored data: at once that everything in the last checkpoint is there, later all of it in a thread of its
 * own. Findings are logged and reported, and the server continues to serve.
 */
export function startIntegrity(deps: Deps, firstAfterMs: number = FIRST_AFTER_MS): Integrity {
  const { settings, log } = deps
  const dataDir = settings.RETRAI_DATA_DIR
  const stop = new AbortController()
  let heads: readonly Finding[] = []
  const compared = verifyStart(deps, stop.signal)
    .then((verified) => {
      if (verified.isErr()) log.warn({ error: verified.error }, NOT_VERIFIED)
      heads = verified.unwrapOr([])
      logFindings(log, heads)
    })
    .catch((error) => log.warn({ err: error }, NOT_VERIFIED))
  const whole = new WholeVerification(deps, firstAfterMs)
  return {
    detail: () => detail(new Set([...heads, ...whole.findings].map(textOf)).size, whole.isAltered),
    compared,
    keep: async (checkpoint) => {
      await compared
      await keepCheckpoint(dataDir, checkpoint).catch((error) =>
        log.warn({ err: error }, 'the last checkpoint could not be saved beside the log'),
      )
    },
    stop: async () => {
      stop.abort()
      await whole.stop()
      await compared
    },
  }
}

/** Compares the log with its last checkpoint, and with those beside it. Sets aside those that the log does not have. */
async function verifyStart(
  { settings, store, keyring }: Deps,
  signal: AbortSignal,
): Promise<Result<readonly Finding[], unknown>> {
  const dataDir = settings.RETRAI_DATA_DIR
  const keys = await keyring.load()
  if (keys.isErr()) return err(keys.error)
  const beside = await readKeptCheckpoints(dataDir)
  const found = await verifyHeads(store, knownKeys(keys.value.published), beside)
  if (signal.aborted) return ok([])
  if (found.isErr()) return err(found.error)
  // The next checkpoint must not overwrite the only sign that there was another log.
  const lost = await Promise.all(found.value.lost.map((each) => setAside(dataDir, each)))
  return ok([...found.value.findings, ...lost.map(lostFinding)])
}

/** Verifies the whole store from time to time, in a thread. */
class WholeVerification {
  /** Of the last verification. */
  findings: readonly Finding[] = []
  /** Whether the read model was found not to agree with the log, and thrown away. */
  isAltered = false
  readonly #deps: Deps
  #stopped = false
  #timer: NodeJS.Timeout | undefined
  #thread: Worker | null = null

  constructor(deps: Deps, firstAfterMs: number) {
    this.#deps = deps
    // `retrai verify --server` verifies an EventStoreDB: its log may be as large as those of all its servers.
    if (deps.settings.EVENTSTORE_URL === undefined) this.#verifyAfter(firstAfterMs)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#thread?.terminate()
  }

  #verifyAfter(ms: number): void {
    this.#timer = setTimeout(() => this.#verify(), ms).unref()
  }

  #verify(): void {
    const { settings, log } = this.#deps
    const task: Task = { dataDir: settings.RETRAI_DATA_DIR, artifacts: settings }
    const resourceLimits = { maxOldGenerationSizeMb: MAX_MEMORY_MB }
    this.#thread = new Worker(WORKER, { workerData: task, resourceLimits })
      .once('message', (verdict: Verdict) => this.#take(verdict))
      .once('error', (error) => {
        if (!this.#stopped) log.warn({ err: error }, NOT_VERIFIED)
      })
      .once('exit', () => {
        this.#thread = null
        if (!this.#stopped) this.#verifyAfter(EVERY_MS)
      })
  }

  #take(verdict: Verdict): void {
    const { log, readModel } = this.#deps
    if (verdict.type === 'failed') {
      log.warn({ error: verdict.message }, NOT_VERIFIED)
      return
    }
    const isUnread = ({ problem }: Finding): boolean => problem === 'unreachable'
    this.findings = verdict.findings.filter((finding) => !isUnread(finding))
    logFindings(log, this.findings)
    const unread = verdict.findings.filter(isUnread)
    const [first] = unread
    if (first) log.warn({ artifacts: unread.length, first: first.message }, NOT_READ)
    const { records } = verdict
    log.info({ records, findings: this.findings.length }, 'the store was verified')
    const wrong = this.findings.find(({ where }) => where === READ_MODEL)
    if (wrong === undefined) return
    readModel.startOver(wrong.message)
    this.isAltered = true
  }
}

const NOT_READ = 'some artifacts could not be read, so they were not verified'
const NOT_VERIFIED = 'the stored data could not be verified'

const textOf = ({ where, seq, message }: Finding): string => `${where} ${seq ?? ''} ${message}`

function logFindings(log: Logger, findings: readonly Finding[]): void {
  for (const finding of findings.slice(0, MAX_LOGGED)) {
    log.error({ ...finding }, 'the stored data is not intact')
  }
  const more = findings.length - MAX_LOGGED
  if (more > 0) log.error({ more }, 'the stored data has more findings: see retrai verify')
}

function detail(findings: number, isAltered: boolean): string | null {
  if (findings === 0 && !isAltered) return null
  const found = `Verification has ${counted(findings, 'finding')} in the log or beside it.`
  const rebuilt =
    'The read model was changed by something other than this server, so it was rebuilt.'
  const parts = [...(findings > 0 ? [found] : []), ...(isAltered ? [rebuilt] : [])]
  return `${parts.join(' ')} See the log of the server and "retrai verify".`
}

/** Writes signed checkpoints over all runs, unless they are switched off. */
export function startCheckpointing(
  { settings, log, store, readModel, projector }: Parts,
  { keyring, followed, removed }: Pick<WriterDeps, 'keyring' | 'followed' | 'removed'>,
  written: (checkpoint: Checkpoint) => Promise<void>,
  published: (isPublished: boolean) => void,
): Pick<CheckpointTimer, 'stop'> {
  const { RETRAI_CHECKPOINT_SECONDS: seconds, EVENTSTORE_URL } = settings
  // Nobody but this server signs in an embedded log, and its folder has the key.
  if (seconds === 0 || EVENTSTORE_URL === undefined) published(true)
  if (seconds === 0) return { stop: async () => {} }
  const publishes = EVENTSTORE_URL !== undefined
  const runs = readModel
  const known = { store, runs, removed, keyring, followed }
  const writer = new CheckpointWriter({ ...known, clock: date, publishes })
  const write: CheckpointWriter['write'] = async () => {
    // A checkpoint in the present log must not sign the heads of a log that the store has lost.
    if (!(await projector.followsSameLog())) return ok(null)
    const made = await writer.write()
    if (made.isOk()) published(true)
    return made
  }
  const timer = new CheckpointTimer(write, { seconds, log, written })
  readModel.whenRunEnds(() => timer.runEnded())
  if (publishes) timer.runEnded()
  return { stop: () => timer.stop().finally(() => published(false)) }
}
