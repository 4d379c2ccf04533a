import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { siblingModule } from '../lib/package-files.ts'

/** A command whose memory is looked at: the process that leads its group, and its mark. */
export type Watched = {
  readonly id: number
  readonly pid: number
  /** As it is in the environment of all its processes: `NAME=value`. */
  readonly mark: string
  readonly maxBytes: number
}

export type ToWatcher =
  | { readonly type: 'watch'; readonly watched: Watched }
  | { readonly type: 'forget'; readonly id: number }

/** A command that has more memory than it may. */
export type TooMuch = { readonly id: number }

/** Whether the memory of commands can be limited here: only Linux tells what each process has. */
export const canLimitMemory: boolean =
  process.platform === 'linux' && existsSync('/proc/self/status')

const watching = new Map<number, { readonly watched: Watched; readonly onTooMuch: () => void }>()
let worker: Worker | null = null
let count = 0

/**
 * Memory is watched, not limited by the kernel. Its limits for a process (RLIMIT_AS, RLIMIT_DATA) count what
 * Node, Go, the JVM and sanitizers only reserve: Node with eight idle worker threads has 6 GB of address space
 * and 5 GB of data, and 85 MB of memory. Control groups need rights that a server mostly has not.
 *
 * A thread of its own, since it reads of all processes again and again; it keeps nothing alive.
 */
function watcher(): Worker {
  if (worker !== null) return worker
  const started = new Worker(siblingModule('memory-watcher', import.meta.url))
  started.unref()
  started.on('message', ({ id }: TooMuch) => watching.get(id)?.onTooMuch())
  // The next command starts another one, which looks at all commands again.
  const lost = (): void => {
    if (worker === started) worker = null
  }
  started.on('error', lost)
  started.on('exit', lost)
  for (const { watched } of watching.values()) {
    started.postMessage({ type: 'watch', watched } satisfies ToWatcher)
  }
  worker = started
  return started
}

/**
 * Looks at the memory of a command and all that comes of it, until the answer is called.
 * @param onTooMuch called when together they have more than `maxBytes`, perhaps more than once
 */
export function watchMemory(
  { pid, mark, maxBytes }: Omit<Watched, 'id'>,
  onTooMuch: () => void,
): () => void {
  if (!canLimitMemory) return () => {}
  count += 1
  const id = count
  const watched = { id, pid, mark, maxBytes }
  watcher().postMessage({ type: 'watch', watched } satisfies ToWatcher)
  watching.set(id, { watched, onTooMuch })
  return () => {
    watching.delete(id)
    worker?.postMessage({ type: 'forget', id } satisfies ToWatcher)
  }
}
