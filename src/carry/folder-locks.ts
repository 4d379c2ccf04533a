import { err, ok, type Result } from 'neverthrow'
import type { RunState } from '../domain/state.ts'
import { isWithin } from '../lib/paths.ts'
import { Signal } from '../lib/signal.ts'

/** Whether a server of one pool may work on a run of another. */
export const isOpenTo = (server: string | null, run: string | null): boolean =>
  server === null || run === null || server === run

/** A run, and the folder that it works in. Servers of other pools have other folders. */
export type InFolder = {
  readonly runId: string
  readonly folder: string
  readonly pool: string | null
}

type OfRun = Pick<RunState, 'runId' | 'project' | 'parent'> & {
  readonly config: { readonly cwd: string; readonly shared?: true }
  readonly pool?: string | null
}

export const folderOfRun = ({ runId, project, config, pool = null }: OfRun): InFolder => ({
  runId,
  pool,
  folder: project?.path ?? config.cwd,
})

/** Whether a run waits for others in its folder, and they for it. Sub-agents work under the lock of their parent. */
export const takesLock = ({ parent, config }: OfRun): boolean =>
  parent === undefined && config.shared !== true

const overlap = (one: InFolder, other: InFolder): boolean =>
  isOpenTo(one.pool, other.pool) &&
  (isWithin(one.folder, other.folder) || isWithin(other.folder, one.folder))

/**
 * Which runs hold the folders that they work in: of those that have not ended, the one that was created first. All servers read the same
 * order in the log. A folder is lent to carry files into it while no other run holds it, and no run begins there meanwhile.
 */
export class FolderLocks {
  /** Notified when a folder may be free. */
  readonly freed = new Signal()
  /** In the order of their creation. */
  readonly #runs = new Map<string, InFolder>()
  readonly #lent = new Set<InFolder>()

  add(run: InFolder): void {
    this.#runs.set(run.runId, run)
  }

  /** The run has ended. */
  remove(runId: string): void {
    if (this.#runs.delete(runId)) this.freed.notify()
  }

  /** The run that holds a folder; null if no other does. */
  holderOf(asked: InFolder): string | null {
    for (const [runId, run] of this.#runs) {
      if (overlap(run, asked)) return runId === asked.runId ? null : runId
    }
    return null
  }

  isLent = (asked: InFolder): boolean => [...this.#lent].some((one) => overlap(one, asked))

  /** Lends a folder until what is returned is called. The error is the run that holds it; null if it is lent already. */
  borrow(asked: InFolder): Result<() => void, string | null> {
    const holder = this.holderOf(asked)
    if (holder !== null || this.isLent(asked)) return err(holder)
    this.#lent.add(asked)
    return ok(() => {
      this.#lent.delete(asked)
      this.freed.notify()
    })
  }
}
