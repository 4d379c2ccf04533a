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
  /** The homes of the runs for which one is being made. */
  readonly #expected = new Set<string>()

  /** Whether one waits for a command of this run. */
  has({ own }: Sandbox): boolean {
    return own !== null && this.#kept.has(own.home)
  }

  /**
   * Expects a container for the next command of this run, until it is kept. False if none can wait: the run has ended, there
   * is one, or something in this one was made for one call.
   */
  expect({ own, scratch, writable, readable, network, hasNetwork }: Sandbox): boolean {
    if (own?.kept !== true || this.#kept.has(own.home) || this.#expected.has(own.home)) return false
    const isForAnyCall = scratch === null && writable.length + readable.length === 0
    if (!isForAnyCall || network !== 'none' || hasNetwork || !existsSync(own.home)) return false
    if (this.#kept.size + this.#expected.size >= MOST) return false
    this.#expected.add(own.home)
    return true
  }

  /** Whether one is still expected: its run may have ended. */
  expects({ own }: Sandbox): boolean {
    return own !== null && this.#expected.has(own.home) && existsSync(own.home)
  }

  /** Keeps the container that is expected, while it lives. @param container null if none was made */
  keep({ own }: Sandbox, container: C | null): void {
    const isExpected = own !== null && this.#expected.delete(own.home)
    if (container === null) return
    if (!isExpected) {
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

  /** Ends the container that waits for this run, if there is one, or that is being made. */
  discard(home: string): void {
    this.#expected.delete(home)
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
function shownBy({ command, variables, exported, files }: Container): string {
  const inodes = files.map((descriptor) => {
    const { dev, ino } = fstatSync(descriptor, { bigint: true })
    return `${dev}:${ino}`
  })
  return JSON.stringify([command, variables, exported, inodes])
}
