import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'

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

const exceeded = new Map<number, () => void>()
let worker: Worker | null = null
let count = 0

/** A thread of its own, since it reads of all processes again and again; it keeps nothing alive. */
function watcher(): Worker {
  if (worker !== null) return worker
  const started = new Worker(new URL('./memory-watcher.ts', import.meta.url))
  started.unref()
  started.on('message', ({ id }: TooMuch) => exceeded.get(id)?.())
  // The next command starts another one.
  const lost = (): void => {
    if (worker === started) worker = null
  }
  started.on('error', lost)
  started.on('exit', lost)
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
  const send = (message: ToWatcher): void => watcher().postMessage(message)
  exceeded.set(id, onTooMuch)
  send({ type: 'watch', watched: { id, pid, mark, maxBytes } })
  return () => {
    exceeded.delete(id)
    send({ type: 'forget', id })
  }
}
