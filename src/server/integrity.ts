import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { Checkpoint } from '../api/audit.ts'
import { type CheckpointTimer, startCheckpoints } from '../audit/checkpoints/checkpoint-timer.ts'
import { CheckpointWriter } from '../audit/checkpoints/checkpoint-writer.ts'
import type { Keyring } from '../audit/proofs/keyring.ts'
import { knownKeys } from '../audit/proofs/public-keys.ts'
import { READ_MODEL } from '../audit/verify/projected-runs.ts'
import type { Finding } from '../audit/verify/report.ts'
import { verifyHeads } from '../audit/verify/verify-store.ts'
import { siblingModule } from '../lib/package-files.ts'
import { date, type Parts } from './parts.ts'
import type { Task, Verdict } from './verify-worker.ts'

/** When the whole store is verified, and how much of a processor that takes. */
export type VerifyPace = {
  readonly firstAfterMs: number
  readonly everyMs: number
  /** So many times as long as it has worked, it rests. */
  readonly restTimes: number
}

/** Once per start and day, with a fifth of a processor at most. */
const PACE: VerifyPace = { firstAfterMs: 30_000, everyMs: 24 * 3_600_000, restTimes: 4 }

/** Findings that the logger gets one by one. */
const MOST_LOGGED = 20
/** Memory of the thread, so that a huge log stops the verification and not the server. */
const MOST_MEMORY_MB = 1_024

const WORKER = siblingModule('verify-worker', import.meta.url)

/** What is wrong with what the server has stored, as far as that is known. */
export type Integrity = {
  /** For anybody, without any content; null while nothing is known to be wrong. */
  detail(): string | null
  /** Keeps a checkpoint outside of the log, so that a log that is put back to before it is found. */
  keep(checkpoint: Checkpoint): Promise<void>
  stop(): Promise<void>
}

type Deps = Pick<Parts, 'settings' | 'log' | 'store' | 'readModel'> & { readonly keyring: Keyring }

/**
 * Verifies what is stored: at once that all that the last checkpoint names is there, later all of it in a
 * thread of its own. What does not hold is logged and said; the server serves on.
 */
export function startIntegrity(deps: Deps, pace: Partial<VerifyPace> = {}): Integrity {
  const { settings, log } = deps
  const { firstAfterMs, everyMs, restTimes } = { ...PACE, ...pace }
  const keptFile = join(settings.RETRAI_DATA_DIR, 'last-checkpoint.json')
  let heads: readonly Finding[] = []
  let whole: readonly Finding[] = []
  let stopped = false
  let timer: NodeJS.Timeout
  let thread: Worker | null = null

  const verifyStart = async (): Promise<void> => {
    const keys = await deps.keyring.load()
    if (keys.isErr()) return log.warn({ error: keys.error }, NOT_VERIFIED)
    const kept = await readKept(keptFile)
    const found = await verifyHeads(deps.store, knownKeys(keys.value.published), kept)
    if (stopped) return
    if (found.isErr()) return log.warn({ error: found.error }, NOT_VERIFIED)
    heads = found.value
    tell(log, heads)
  }

  const verifyWhole = (): void => {
    const task: Task = { dataDir: settings.RETRAI_DATA_DIR, restTimes }
    const worker = new Worker(WORKER, {
      workerData: task,
      resourceLimits: { maxOldGenerationSizeMb: MOST_MEMORY_MB },
    })
    thread = worker
    worker.once('message', (verdict: Verdict) => {
      if (verdict.type === 'failed') log.warn({ error: verdict.message }, NOT_VERIFIED)
      else {
        whole = verdict.findings
        tell(log, whole)
        log.info({ records: verdict.records, findings: whole.length }, 'the store was verified')
        mendReadModel(deps, whole)
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

  const started = verifyStart()
  // An EventStoreDB is verified by `retrai verify --server`: its log may be as large as all its servers.
  timer = setTimeout(() => {
    if (settings.EVENTSTORE_URL === undefined) verifyWhole()
  }, firstAfterMs).unref()
  return {
    detail: () => detail(new Set([...heads, ...whole].map(textOf)).size, deps.readModel.altered),
    keep: async (checkpoint) => {
      await started
      await writeKept(keptFile, checkpoint).catch((error) =>
        log.warn({ err: error }, 'the last checkpoint could not be kept beside the log'),
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

const NOT_VERIFIED = 'what is stored could not be verified'

const textOf = ({ where, seq, message }: Finding): string => `${where} ${seq ?? ''} ${message}`

/** A read model that does not fit the log is rebuilt from it. */
function mendReadModel({ readModel }: Deps, findings: readonly Finding[]): void {
  const [first] = findings.filter(({ where }) => where === READ_MODEL)
  if (first !== undefined) readModel.startOver(first.message, { altered: true })
}

function tell(log: Logger, findings: readonly Finding[]): void {
  for (const finding of findings.slice(0, MOST_LOGGED)) {
    log.error({ ...finding }, 'what is stored does not hold')
  }
  const more = findings.length - MOST_LOGGED
  if (more > 0) log.error({ more }, 'more of what is stored does not hold: see retrai verify')
}

function detail(findings: number, altered: string | null): string | null {
  const parts = [
    ...(findings === 0
      ? []
      : [
          `${findings} things in the log or beside it do not hold: records or runs were changed or removed.`,
        ]),
    ...(altered === null
      ? []
      : ['The read model was changed by something else than this server, and was rebuilt.']),
  ]
  return parts.length === 0
    ? null
    : `${parts.join(' ')} The log of the server and "retrai verify" say what.`
}

async function readKept(file: string): Promise<Checkpoint | null> {
  try {
    return Checkpoint.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch {
    return null
  }
}

async function writeKept(file: string, checkpoint: Checkpoint): Promise<void> {
  await writeFile(`${file}.new`, `${JSON.stringify(checkpoint)}\n`, { mode: 0o600 })
  await rename(`${file}.new`, file)
}

/** Signed statements over all runs, unless they are switched off. */
export function startCheckpointing(
  { settings, log, store, readModel }: Pick<Parts, 'settings' | 'log' | 'store' | 'readModel'>,
  keyring: Keyring,
  written: (checkpoint: Checkpoint) => Promise<void>,
): Pick<CheckpointTimer, 'stop'> {
  const { RETRAI_CHECKPOINT_SECONDS: seconds } = settings
  if (seconds === 0) return { stop: async () => {} }
  const writer = new CheckpointWriter({ store, runs: readModel, keyring, clock: date })
  const timer = startCheckpoints(writer, { seconds, log, written })
  readModel.whenRunEnds(() => timer.runEnded())
  return timer
}
