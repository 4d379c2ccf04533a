import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** A start has ended by then, and so has the rush of clients after it, milliseconds after the server is ready. */
const AFTER_START_MS = 2_000

/**
 * Collects all garbage of a thread that has just started, once, and returns its memory to the system: much of it holds
 * what only the start needed, and V8 puts that off while a thread has little to do. Takes up to a quarter of a second.
 */
export function collectAfterStart(): void {
  const collect = (): void => {
    // The flag is that of the whole process, and other threads may be here too, so it stays set.
    setFlagsFromString('--expose-gc')
    const gc: NodeJS.GCFunction | undefined = runInNewContext('globalThis.gc')
    gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  }
  setTimeout(collect, AFTER_START_MS).unref()
}
