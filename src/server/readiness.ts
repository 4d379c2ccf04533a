import { closeSync, openSync } from 'node:fs'
import type { Witnesses } from '../checkpoints/witness/witnesses.ts'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { shortageOf } from '../lib/message-of.ts'
import { within } from '../lib/promises.ts'
import type { CommandLimits } from '../runner/command.ts'
import { diskShortage, noDisk } from '../runner/processes.ts'
import type { Commands } from './commands.ts'
import type { Integrity } from './integrity.ts'
import type { Parts } from './open-history.ts'

/** This many files must be openable before work that opens files begins. */
const SPARE_FILES = 16

type Deps = {
  readonly retryMs: PauseBoundsMs
  readonly log: Pick<Logger, 'info' | 'error'>
  /** For tests: opens and closes files. */
  readonly probe?: () => Promise<void>
}

/**
 * Whether this process can open files and start others. A shortage is a problem of the server and not the outcome of a
 * call or a check, so runs wait until it is over.
 */
export class Resources {
  readonly #deps: Deps
  #shortage: string | null = null
  readonly #backoff: Backoff

  constructor(deps: Deps) {
    this.#deps = deps
    this.#backoff = new Backoff(deps.retryMs)
  }

  /** Checks now. Returns what this process is short of, for people; null if nothing. */
  async problem(): Promise<string | null> {
    try {
      await (this.#deps.probe ?? openSpareFiles)()
      this.#note(null)
    } catch (cause) {
      this.#note(shortageOf(cause))
    }
    return this.#shortage === null
      ? null
      : `The server is short of descriptors or memory (${this.#shortage}), so its runs wait. Close connections, or raise its limits.`
  }

  /** Waits until the shortage is over; false as soon as `signal` aborts. */
  async available(signal: AbortSignal): Promise<boolean> {
    const backoff = new Backoff(this.#deps.retryMs)
    while ((await this.problem()) !== null) {
      if (!(await backoff.wait(signal))) return false
    }
    return !signal.aborted
  }

  /** Waits because a command could not start for a shortage; false as soon as `signal` aborts. */
  waitFor(shortage: string, signal: AbortSignal): Promise<boolean> {
    this.#note(shortage)
    return this.#backoff.wait(signal)
  }

  #note(shortage: string | null): void {
    const { log } = this.#deps
    if (shortage !== null && this.#shortage === null) {
      log.error({ code: shortage }, 'the server is short of descriptors or memory: runs wait')
    }
    if (shortage === null && this.#shortage !== null) {
      log.info({}, 'the shortage is over: runs continue')
      this.#backoff.reset()
    }
    this.#shortage = shortage
  }
}

/** Synchronous calls take microseconds; calls in the pool of threads take a hundred times as long. */
function openSpareFiles(): void {
  const opened: number[] = []
  try {
    while (opened.length < SPARE_FILES) opened.push(openSync('/dev/null', 'r'))
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
}

/** What reports its state. */
type Reporting = Commands & {
  readonly integrity: Pick<Integrity, 'detail'>
  readonly resources: Pick<Resources, 'problem'>
  readonly witnesses: Pick<Witnesses, 'state' | 'isLate'> | null
}

/** How long a request for readiness waits for the store. */
const PING_WITHIN_MS = 2_000

/**
 * Whether the store answers and the projections are up to date, and what is wrong if not. Integrity problems are
 * reported too, but the server still serves.
 */
export async function readiness(
  { settings, store, readModel, projector }: Parts,
  { integrity, resources, isolation, limits, witnesses }: Reporting,
) {
  const folders = [settings.RETRAI_DATA_DIR, process.cwd()]
  const answer = store.ping().match(
    () => null,
    ({ message }) => message,
  )
  const late = () => `The store does not answer within ${PING_WITHIN_MS / 1000} seconds.`
  const storeProblem = await within(PING_WITHIN_MS, answer, late)
  const catchingUp = 'The read model is still catching up with the log.'
  const projectionProblem = projector.problem() ?? (readModel.caughtUp ? null : catchingUp)
  const shortage = await resources.problem()
  return {
    ready: storeProblem === null && projectionProblem === null && shortage === null,
    checks: {
      store: check(storeProblem),
      projections: check(projectionProblem),
      integrity: check(integrity.detail()),
      resources: check(shortage),
      // A server that refuses commands still serves what is stored.
      isolation: {
        ok: isolation.level !== null,
        detail: `${isolation.level ?? 'refused'}: ${isolation.detail}`,
      },
      limits: { ok: true, detail: limits.detail },
      quorum: quorumOf(witnesses),
      disk: check(await diskProblem(folders, limits.limits)),
    },
  }
}

/** How many witnesses have seen the newest checkpoint. It is bad only if they are too few for long. */
function quorumOf(witnesses: Reporting['witnesses']) {
  if (witnesses === null) return { ok: true, detail: 'RETRAI_WITNESSES names no witnesses.' }
  const { quorum, witnesses: all } = witnesses.state()
  const seen = `${quorum.seen} of ${all.length} witnesses have seen the newest checkpoint`
  return { ok: !witnesses.isLate, detail: `${seen}, and ${quorum.needed} must.` }
}

const check = (problem: string | null) =>
  problem === null ? { ok: true } : { ok: false, detail: problem }

/** Why no command is started for lack of space, for people; null if there is enough. */
export async function diskProblem(
  folders: readonly string[],
  { freeDiskBytes }: Pick<CommandLimits, 'freeDiskBytes'>,
): Promise<string | null> {
  const short = await diskShortage(folders, freeDiskBytes)
  return short === null ? null : noDisk(short)
}
