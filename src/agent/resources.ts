import { open } from 'node:fs/promises'
import { type RunCommand, shortageOf } from '../runner/command.ts'
import { type Backoff, untilAborted } from './backoff.ts'

/** So many files can be opened before something is begun that opens some. */
const SPARE_FILES = 16

type Deps = {
  readonly backoff: Backoff
  readonly log: {
    info(fields: object, message: string): void
    error(fields: object, message: string): void
  }
  /** For tests: opens and closes files. */
  readonly probe?: () => Promise<void>
}

/**
 * Whether this process can open files and start others. A shortage is a trouble of the server and not the outcome
 * of a call or a check, so runs wait until it is over.
 */
export class Resources {
  readonly #deps: Deps
  #shortage: string | null = null

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Looks now: what this process is short of, for people; null if of nothing. */
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

  /** Waits until nothing is short; false as soon as `signal` aborts. */
  async available(signal: AbortSignal): Promise<boolean> {
    for (let failures = 0; (await this.problem()) !== null; failures += 1) {
      if (!(await untilAborted(this.#deps.backoff(failures), signal))) return false
    }
    return !signal.aborted
  }

  /** The same, of which a command that cannot be started for a shortage is started later. */
  patient(runCommand: RunCommand): RunCommand {
    return async (command) => {
      for (let failures = 0; ; failures += 1) {
        const result = await runCommand(command)
        if (result.shortage === undefined) return result
        this.#note(result.shortage)
        if (!(await untilAborted(this.#deps.backoff(failures), command.signal))) {
          return { ...result, end: 'aborted' }
        }
      }
    }
  }

  #note(shortage: string | null): void {
    const { log } = this.#deps
    if (shortage !== null && this.#shortage === null) {
      log.error({ code: shortage }, 'short of descriptors or memory: runs wait')
    }
    if (shortage === null && this.#shortage !== null) log.info({}, 'no longer short: runs continue')
    this.#shortage = shortage
  }
}

async function openSpareFiles(): Promise<void> {
  const opened = await Promise.allSettled(
    Array.from({ length: SPARE_FILES }, () => open('/dev/null', 'r')),
  )
  for (const file of opened) if (file.status === 'fulfilled') await file.value.close()
  for (const file of opened) if (file.status === 'rejected') throw file.reason
}
