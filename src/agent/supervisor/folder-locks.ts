import { err, ok, type Result } from 'neverthrow'
import type { RunState } from '../../domain/state.ts'
import { isWithin } from '../../lib/paths.ts'
import { Signal } from '../../lib/signal.ts'
import { isOpenTo } from './leases.ts'

/** A run, and the folder that it works in, through no link. */
export type InFolder = {
  readonly runId: string
  readonly folder: string
  /** Servers of other pools have other folders. */
  readonly pool: string | null
}

/** What is known of the folder of a run. */
export const folderOfRun = ({
  runId,
  project,
  config,
  pool,
}: Pick<RunState, 'runId' | 'project' | 'pool'> & {
  readonly config: { readonly cwd: string }
}): InFolder => ({ ...{ runId, pool }, folder: project?.path ?? config.cwd })

/** Whether a run takes the lock of its folder. Sub-agents work under that of their parent. */
export const takesLock = ({
  parent,
  config,
}: {
  readonly parent?: unknown
  readonly config: { readonly shared?: true }
}): boolean => parent == null && config.shared !== true

const overlap = (one: InFolder, other: InFolder): boolean =>
  isOpenTo(one.pool, other.pool) &&
  (isWithin(one.folder, other.folder) || isWithin(other.folder, one.folder))

/**
 * Which runs hold the folders that they work in: of those that have not ended, the one that was created first. All servers read the same
 * order in the log. Files are carried into a folder while no other run holds it, and no run begins meanwhile.
 */
export class FolderLocks {
  /** In the order of their creation. */
  readonly #runs = new Map<string, InFolder>()
  readonly #lent = new Set<InFolder>()
  readonly #freed = new Signal()

  /** The run was created. */
  add(run: InFolder): void {
    this.#runs.set(run.runId, run)
  }

  /** The run has ended. */
  remove(runId: string): void {
    if (this.#runs.delete(runId)) this.#freed.notify()
  }

  /** The run that holds a folder; null if none does. For a run that takes its lock, only earlier ones count. */
  holderOf(asked: InFolder): string | null {
    for (const [runId, run] of this.#runs) {
      if (runId === asked.runId) return null
      if (overlap(run, asked)) return runId
    }
    return null
  }

  /** Whether files are being carried into a folder. */
  isLent(asked: InFolder): boolean {
    return [...this.#lent].some((one) => overlap(one, asked))
  }

  /** Lends a folder until what is returned is called. The error is the run that holds it; null if it is lent already. */
  borrow(asked: InFolder): Result<() => void, string | null> {
    const holder = this.holderOf(asked)
    if (holder !== null || this.isLent(asked)) return err(holder)
    this.#lent.add(asked)
    return ok(() => {
      this.#lent.delete(asked)
      this.#freed.notify()
    })
  }

  /** Call this before looking at what is held: see `untilFreed`. */
  get count(): number {
    return this.#freed.count
  }

  /** Waits until a folder is free that was not when `count` was read; false if `signal` aborts. */
  async untilFreed(signal: AbortSignal, count: number): Promise<boolean> {
    await this.#freed.wait(signal, count)
    return !signal.aborted
  }
}
