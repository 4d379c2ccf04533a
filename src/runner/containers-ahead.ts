import { existsSync, fstatSync } from 'node:fs'
import type { Container } from './isolation/bubblewrap.ts'
import type { Sandbox } from './isolation/sandbox.ts'
import type { WaitingContainer } from './waiting-container.ts'

/** How long a container waits for the next command of its run. */
const KEPT_MS = 60_000
/** How many wait at once: each is two or three processes, about a mebibyte, and some twenty open files. */
const MOST = 16

type Waiting = Pick<WaitingContainer, 'made' | 'lives' | 'exit' | 'discard'>

type Kept<C> = {
  readonly container: C
  readonly shows: string
  readonly timer: NodeJS.Timeout
}

/** The containers that wait for the next commands of their runs: one for each run. */
export class ContainersAhead<C extends Waiting> {
  readonly #kept = new Map<string, Kept<C>>()

  /** Whether one waits for a command of this run. */
  has({ own }: Sandbox): boolean {
    return own !== null && this.#kept.has(own.home)
  }

  /** Whether one can wait for the next command of this run: the run has not ended, and nothing in it is made for one call. */
  isPossible({ own, scratch, writable, readable, network, hasNetwork }: Sandbox): boolean {
    if (own?.kept !== true || this.#kept.has(own.home) || this.#kept.size >= MOST) return false
    const isForAnyCall = scratch === null && writable.length + readable.length === 0
    return isForAnyCall && network === 'none' && !hasNetwork && existsSync(own.home)
  }

  /** Keeps a container for the next command of this run, while it lives. */
  keep({ own }: Sandbox, container: C): void {
    if (own === null || this.#kept.has(own.home)) {
      container.discard()
      return
    }
    const timer = setTimeout(() => this.discard(own.home), KEPT_MS).unref()
    const kept = { container, shows: shownBy(container.made), timer }
    this.#kept.set(own.home, kept)
    void container.exit.then(() => {
      if (this.#kept.get(own.home) === kept) this.discard(own.home)
    })
  }

  /**
   * The container that waits for a command of this run, if it shows and allows exactly what a new one would. Otherwise it is
   * ended, and the result is null.
   */
  take({ own }: Sandbox, wanted: Container): C | null {
    const kept = own === null ? undefined : this.#kept.get(own.home)
    if (own === null || kept === undefined) return null
    if (kept.shows !== shownBy(wanted) || !kept.container.lives) {
      this.discard(own.home)
      return null
    }
    clearTimeout(kept.timer)
    this.#kept.delete(own.home)
    return kept.container
  }

  /** Ends the container that waits for this run, if there is one. */
  discard(home: string): void {
    const kept = this.#kept.get(home)
    this.#kept.delete(home)
    clearTimeout(kept?.timer)
    kept?.container.discard()
  }
}

/**
 * Two containers with the same text show and allow the same: they have the same arguments and mount the same files. A
 * container that waits holds its files open, so the kernel gives none of their numbers to another file.
 */
function shownBy({ command, variables, files }: Container): string {
  const inodes = files.map((descriptor) => {
    const { dev, ino } = fstatSync(descriptor, { bigint: true })
    return `${dev}:${ino}`
  })
  return JSON.stringify([command, variables, inodes])
}
