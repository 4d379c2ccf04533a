import { readdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { RunState } from '../domain/state.ts'
import { sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { messageOf } from '../lib/message-of.ts'
import { removeFolder } from '../lib/remove-folder.ts'

/** Where the copies are in which runs of a server work, each in a folder with the id of its run. */
const copiesOf = (dataDir: string): string => `${resolve(dataDir)}-copies`

/** Where the copy of a run is. @param project the folder that is copied */
export const folderOfCopy = (dataDir: string, runId: string, project: string): string =>
  join(copiesOf(dataDir), runId, basename(project) || 'project')

/** Copies of runs that ended so long ago are removed if nothing is lost with them. */
const KEPT_SECONDS = 14 * 86_400
const DAY_MS = 86_400_000
const REASON = 'It was not used for 14 days, and snapshots hold all of its work'

type Deps = {
  readonly dataDir: string
  /** A run of this log; null if there is none. */
  readonly stateOf: (runId: string) => RunState | null
  /** The runs that begin from a run. */
  readonly begunFrom: (runId: string) => readonly RunState[]
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly log: Pick<Logger, 'warn'>
}

/** What is known of old copies, and what is done with them. */
type Old = {
  readonly keepsAll: (runId: string) => Promise<boolean>
  readonly discard: (runId: string, reason: string) => PromiseLike<unknown>
}

/** The folders of copies that belong to the runs of this server. */
export class Copies {
  readonly #deps: Deps

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Removes the copy of a run. Never rejects: what is left is removed at the next start. */
  async remove({ config: { cwd } }: Pick<RunState, 'config'>): Promise<void> {
    const folder = dirname(cwd)
    if (dirname(folder) === copiesOf(this.#deps.dataDir)) await this.#removeFolder(folder)
  }

  /** Removes what no run needs any more, now and every day until `signal` aborts. Never rejects. */
  async tidy(old: Old, signal: AbortSignal): Promise<void> {
    do {
      const folder = copiesOf(this.#deps.dataDir)
      for (const runId of await readdir(folder).catch(() => [])) {
        if (signal.aborted) return
        const state = this.#deps.stateOf(runId)
        if (state === null || isOver(state)) await this.#removeFolder(join(folder, runId))
        else if (await this.#isUnused(state, old)) await old.discard(runId, REASON)
      }
    } while (await sleep(DAY_MS, signal))
  }

  /** Whether neither the run nor one that continues it in its copy has used that for long, and nothing would be lost. */
  async #isUnused({ runId, config, endedAt, lastAt }: RunState, old: Old): Promise<boolean> {
    const isOld = endedAt !== null && Math.max(endedAt, lastAt) < this.#deps.now() - KEPT_SECONDS
    if (!isOld || !(await old.keepsAll(runId))) return false
    for (const later of this.#deps.begunFrom(runId)) {
      if (later.config.cwd === config.cwd && !(await this.#isUnused(later, old))) return false
    }
    return true
  }

  async #removeFolder(folder: string): Promise<void> {
    await removeFolder(folder).catch((cause) => {
      this.#deps.log.warn({ folder, why: messageOf(cause) }, 'a copy of a project was not removed')
    })
  }
}

/** Whether a run has no copy any more, or ended before it was made. */
const isOver = ({ copy, phase }: RunState): boolean =>
  copy === undefined || copy.is === 'discarded' || (copy.is === 'due' && phase.type === 'ended')
