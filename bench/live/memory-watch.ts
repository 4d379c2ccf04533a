import type { Peer } from '../support/calls.ts'
import type { Memory } from './process.ts'
import type { ServerOperations } from './server-process.ts'

const EVERY_MS = 200
const mib = (bytes: number): number => bytes / 2 ** 20

/** Samples the memory of a server. */
export class MemoryWatch {
  readonly #peer: Peer<ServerOperations>
  #first: Memory | null = null
  #most: Memory = { rss: 0, heap: 0, buffers: 0 }
  #timer: NodeJS.Timeout | null = null

  constructor(peer: Peer<ServerOperations>) {
    this.#peer = peer
  }

  static async begin(peer: Peer<ServerOperations>): Promise<MemoryWatch> {
    const watch = new MemoryWatch(peer)
    watch.#first = await peer.ask('memory', { collect: true })
    watch.#timer = setInterval(() => void watch.#look().catch(() => {}), EVERY_MS)
    return watch
  }

  /** The peak, its growth since the beginning, and a text with all figures. */
  async end(): Promise<{
    readonly mostMiB: number
    readonly peakMiB: number
    readonly text: string
  }> {
    clearInterval(this.#timer ?? undefined)
    const last = await this.#look()
    const first = this.#first ?? last
    const rss = [first, this.#most, last].map((memory) => mib(memory.rss).toFixed(0))
    const heap = [first, this.#most, last].map((memory) => mib(memory.heap).toFixed(0))
    const text = `RSS ${rss.join(' → ')}, heap ${heap.join(' → ')} MiB (before → most → after)`
    return { mostMiB: mib(this.#most.rss), peakMiB: mib(this.#most.rss - first.rss), text }
  }

  async #look(): Promise<Memory> {
    const memory = await this.#peer.ask('memory', { collect: false })
    const { rss, heap, buffers } = this.#most
    this.#most = {
      rss: Math.max(rss, memory.rss),
      heap: Math.max(heap, memory.heap),
      buffers: Math.max(buffers, memory.buffers),
    }
    return memory
  }
}
