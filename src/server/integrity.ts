import { Worker } from 'node:worker_threads'
import { okAsync, ResultAsync } from 'neverthrow'
import type { Logger } from 'pino'
import type { Checkpoint } from '../api/audit.ts'
import { CheckpointTimer } from '../audit/checkpoints/checkpoint-timer.ts'
import { CheckpointWriter } from '../audit/checkpoints/checkpoint-writer.ts'
import {
  keepCheckpoint,
  readKeptCheckpoints,
  setAside,
} from '../audit/checkpoints/kept-checkpoints.ts'
import type { Keyring } from '../audit/proofs/keyring.ts'
import { knownKeys } from '../audit/proofs/public-keys.ts'
import { READ_MODEL } from '../audit/verify/projected-runs.ts'
import type { Finding } from '../audit/verify/report.ts'
import { lostFinding, unreadableFinding } from '../audit/verify/verify-checkpoints.ts'
import { verifyHeads } from '../audit/verify/verify-store.ts'
import { counted } from '../lib/counted.ts'
import { siblingModule } from '../lib/package-files.ts'
import { date, type Parts } from './parts.ts'
import type { Task, Verdict } from './verify-worker.ts'

/** When the whole store is verified, and how much of a processor that uses. */
export type VerifyPace = {
  readonly firstAfterMs: number
  readonly everyMs: number
  /** It rests this many times as long as it has worked. */
  readonly restTimes: number
}

/** After each start and once a day, with a fifth of a processor at most. */
const PACE: VerifyPace = { firstAfterMs: 30_000, everyMs: 24 * 3_600_000, restTimes: 4 }

/** How many findings are logged one by one. */
const MAX_LOGGED = 20
/** Memory of the thread. A huge log then stops the verification and not the server. */
const MAX_MEMORY_MB = 1_024

const WORKER = siblingModule('verify-worker', import.meta.url)

/** Known problems of the stored data. */
export type Integrity = {
  /** A text that anybody may read, so it has no content of runs; null while no problem is known. */
  detail(): string | null
  /** Keeps a checkpoint outside of the log, so that a log that was reset to an earlier state is found. */
  keep(checkpoint: Checkpoint): Promise<void>
  stop(): Promise<void>
}

type Deps = Pick<Parts, 'settings' | 'log' | 'store' | 'readModel'> & { readonly keyring: Keyring }

/**
 * Verifies the stored data: at once that everything in the last checkpoint is there, later all of it in a thread of its
 * own. Findings are logged and reported, and the server continues to serve.
 */
export function startIntegrity(deps: Deps, pace: Partial<VerifyPace> = {}): Integrity {
  const { settings, log } = deps
  const { firstAfterMs, everyMs, restTimes } = { ...PACE, ...pace }
  const dataDir = settings.RETRAI_DATA_DIR
  let heads: readonly Finding[] = []
  let whole: readonly Finding[] = []
  let stopped = false
  let timer: NodeJS.Timeout
  let thread: Worker | null = null

  const verifyStart = async (): Promise<void> => {
    const keys = await deps.keyring.load()
    if (keys.isErr()) return log.warn({ error: keys.error }, NOT_VERIFIED)
    const beside = await readKeptCheckpoints(dataDir)
    const found = await verifyHeads(deps.store, knownKeys(keys.value.published), beside.kept)
    if (stopped) return
    if (found.isErr()) return log.warn({ error: found.error }, NOT_VERIFIED)
    // The next checkpoint must not overwrite the only sign that there was another log.
    const lost = await Promise.all(found.value.lost.map((each) => setAside(dataDir, each)))
    const unreadable = await Promise.all(beside.unreadable.map((each) => setAside(dataDir, each)))
    const ofFiles = [...lost.map(lostFinding), ...unreadable.map(unreadableFinding)]
    heads = [...found.value.findings, ...ofFiles]
    logFindings(log, heads)
  }

  const verifyWhole = (): void => {
    const task: Task = { dataDir, artifacts: settings, restTimes }
    const worker = new Worker(WORKER, {
      workerData: task,
      resourceLimits: { maxOldGenerationSizeMb: MAX_MEMORY_MB },
    })
    thread = worker
    worker.once('message', (verdict: Verdict) => {
      if (verdict.type === 'failed') log.warn({ error: verdict.message }, NOT_VERIFIED)
      else {
        const { findings } = verdict
        whole = findings.filter(({ problem }) => problem !== 'unreachable')
        logFindings(log, whole)
        const unread = findings.filter(({ problem }) => problem === 'unreachable')
        const [first] = unread
        if (first) log.warn({ artifacts: unread.length, first: first.message }, NOT_READ)
        log.info({ records: verdict.records, findings: whole.length }, 'the store was verified')
        rebuildReadModel(deps, whole)
      }
    })
    worker.once('error', (error) => {
      if (!stopped) log.warn({ err: error }, NOT_VERIFIED)
    })
    worker.once('exit', () => {
      thread = null
      if (!stopped) timer = setTimeout(verifyWhole, everyMs).unref()
    })
  }

  const started = verifyStart().catch((error) => log.warn({ err: error }, NOT_VERIFIED))
  // `retrai verify --server` verifies an EventStoreDB: its log may be as large as those of all its servers.
  timer = setTimeout(() => {
    if (settings.EVENTSTORE_URL === undefined) verifyWhole()
  }, firstAfterMs).unref()
  return {
    detail: () => detail(new Set([...heads, ...whole].map(textOf)).size, deps.readModel.altered),
    keep: async (checkpoint) => {
      await started
      await keepCheckpoint(dataDir, checkpoint).catch((error) =>
        log.warn({ err: error }, 'the last checkpoint could not be saved beside the log'),
      )
    },
    stop: async () => {
      stopped = true
      clearTimeout(timer)
      await thread?.terminate()
      await started
    },
  }
}

const NOT_READ = 'some artifacts could not be read, so they were not verified'
const NOT_VERIFIED = 'the stored data could not be verified'

const textOf = ({ where, seq, message }: Finding): string => `${where} ${seq ?? ''} ${message}`

/** Rebuilds a read model that does not match the log. */
function rebuildReadModel({ readModel }: Deps, findings: readonly Finding[]): void {
  const [first] = findings.filter(({ where }) => where === READ_MODEL)
  if (first !== undefined) readModel.startOver(first.message, { altered: true })
}

function logFindings(log: Logger, findings: readonly Finding[]): void {
  for (const finding of findings.slice(0, MAX_LOGGED)) {
    log.error({ ...finding }, 'the stored data is not intact')
  }
  const more = findings.length - MAX_LOGGED
  if (more > 0) log.error({ more }, 'the stored data has more findings: see retrai verify')
}

function detail(findings: number, altered: string | null): string | null {
  const parts = [
    ...(findings === 0
      ? []
      : [
          `Verification has ${counted(findings, 'finding')} in the log or beside it: records or runs were changed or removed.`,
        ]),
    ...(altered === null
      ? []
      : ['The read model was changed by something other than this server, so it was rebuilt.']),
  ]
  return parts.length === 0
    ? null
    : `${parts.join(' ')} See the log of the server and "retrai verify".`
}

/** Writes signed checkpoints over all runs, unless they are switched off. */
export function startCheckpointing(
  { settings, log, store, readModel, projector }: Parts,
  keyring: Keyring,
  written: (checkpoint: Checkpoint) => Promise<void>,
): Pick<CheckpointTimer, 'stop'> {
  const { RETRAI_CHECKPOINT_SECONDS: seconds } = settings
  if (seconds === 0) return { stop: async () => {} }
  const writer = new CheckpointWriter({ store, runs: readModel, keyring, clock: date })
  // A checkpoint in the present log must not sign the heads of a log that the store has lost.
  const write: CheckpointWriter['write'] = (options) =>
    ResultAsync.fromSafePromise<boolean, never>(projector.followsSameLog()).andThen((isSame) =>
      isSame ? writer.write(options) : okAsync(null),
    )
  const timer = new CheckpointTimer({ write }, { seconds, log, written })
  readModel.whenRunEnds(() => timer.runEnded())
  return timer
}
