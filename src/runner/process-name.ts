import { readFileSync, readlinkSync } from 'node:fs'
import { throwIfShort } from '../lib/shortage.ts'

/** A process in its namespace of process ids, for its whole life: its id, and when it began. Null if there is none. */
export function processName(pid: number | 'self'): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const began = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    return `${stat.split(' ')[0]}:${began}`
  } catch (cause) {
    throwIfShort(cause)
    return null
  }
}

/** Whether a name is that of a process which has ended. `namespace` is that of the process that was named. */
export const hasEnded = (namespace: string, name: string): boolean =>
  namespace === ownNamespace() && processName(Number.parseInt(name, 10)) !== name

/** The namespace of process ids of this process: what it cannot see in another one may live. */
export function ownNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return 'unknown'
  }
}
