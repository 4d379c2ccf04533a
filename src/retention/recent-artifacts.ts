import type { Artifacts } from '../artifacts/artifacts.ts'
import { type EventStore, storeWith } from '../store/event-store.ts'

/**
 * Artifacts, and which of them were put by this process and are named by no record yet. Two runs that keep the same
 * content share an artifact, so what one has just put must stay when the other is removed.
 */
export class RecentArtifacts implements Artifacts {
  readonly #artifacts: Artifacts
  readonly #unnamed = new Set<string>()
  /** Those that must stay since `beginRemoval`. */
  #staying = new Set<string>()
  readonly #removing = new Map<string, Promise<void>>()

  constructor(artifacts: Artifacts) {
    this.#artifacts = artifacts
  }

  async put(content: string | Buffer): Promise<string> {
    const name = await this.#artifacts.put(content)
    this.#unnamed.add(name)
    this.#staying.add(name)
    const removal = this.#removing.get(name)
    if (removal === undefined) return name
    await removal.catch(() => {})
    return this.#artifacts.put(content)
  }

  read(sha256: string): ReturnType<Artifacts['read']> {
    return this.#artifacts.read(sha256)
  }

  remove(sha256: string): Promise<void> {
    return this.#artifacts.remove(sha256)
  }

  /** What is put from now on, and what no record names yet, stays. To be called before it is searched who names what. */
  beginRemoval(): void {
    this.#staying = new Set(this.#unnamed)
  }

  /** Removes an artifact that no record names, unless it must stay. */
  async removeUnnamed(sha256: string): Promise<void> {
    if (this.#staying.has(sha256)) return
    const removal = this.#artifacts.remove(sha256)
    this.#removing.set(sha256, removal)
    try {
      await removal
    } finally {
      this.#removing.delete(sha256)
    }
  }

  /** The store, whose appends show which artifacts are named. */
  noting(store: EventStore): EventStore {
    return storeWith(store, {
      append: (stream, events, options) =>
        store.append(stream, events, options).andTee(() => {
          for (const name of this.#unnamed) {
            if (events.some(({ data }) => data.includes(name))) this.#unnamed.delete(name)
          }
        }),
    })
  }
}
