import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { throwIfShort } from '../lib/shortage.ts'
import { REAP_MS } from './child.ts'
import { hasEnded, ownNamespace, processName } from './process-name.ts'
import { sendSignal } from './stragglers.ts'

/**
 * A container ends with its bwrap, because the kernel sends it a signal then. But the kernel knows of that only after
 * some milliseconds: if bwrap is killed before, its child waits for it for ever. So each container carries a mark in
 * its arguments that names its runner, and what a runner left is found by that mark.
 */
const MARK = 'retrai-container'
const POLL_MS = 5
/** A process that was forked when its runner died shows its own arguments only a moment later. */
const AGAIN_MS = 1_000

let own: string | null = null
let count = 0

/** What the arguments of every container of this process begin with. */
function ownMark(): string {
  own ??= `${MARK}:${ownNamespace()}:${processName('self')}:`
  return own
}

/** An argument that no other container has. */
export function newContainerMark(): string {
  count += 1
  return `${ownMark()}${count}`
}

/** The arguments of a process; none if it is gone, or dead and not yet reaped. */
function argumentsOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')
  } catch (cause) {
    throwIfShort(cause)
    return []
  }
}

/** The mark of a process that is a bwrap of ours, or process 1 of its container; undefined for all others. */
function markOf(pid: string): string | undefined {
  const all = argumentsOf(pid)
  const at = all.findIndex((argument) => argument.startsWith(`${MARK}:`))
  return all[at - 4] === '/bin/sh' && all[at - 3] === '-c' ? all[at] : undefined
}

/** Kills all processes with such a mark, until there are none. What else is in their containers ends with them. */
async function killMarked(isLeft: (mark: string) => boolean): Promise<void> {
  for (const late = performance.now() + REAP_MS; performance.now() < late; await pause(POLL_MS)) {
    try {
      const found = readdirSync('/proc').filter((name) => {
        const mark = /^\d/.test(name) ? markOf(name) : undefined
        return mark !== undefined && isLeft(mark)
      })
      if (found.length === 0) return
      for (const pid of found) sendSignal(Number(pid), 'SIGKILL')
    } catch {
      // This process is out of descriptors; it looks again soon.
    }
  }
}

/** Kills what is left of a container whose bwrap is dead. Resolves when nothing of it lives. */
export const killContainer = (mark: string): Promise<void> => killMarked((one) => one === mark)

/**
 * Kills the containers of runners that do not live any more, in the namespace of this process: it cannot see whether
 * those of other namespaces live. Never rejects.
 */
export async function killLeftContainers(): Promise<void> {
  const ours = `${MARK}:${ownNamespace()}:`
  const isLeft = (mark: string): boolean => {
    if (!mark.startsWith(ours)) return false
    const [pid = '', began] = mark.slice(ours.length).split(':')
    return /^\d+$/.test(pid) && hasEnded(ownNamespace(), `${pid}:${began}`)
  }
  await killMarked(isLeft)
  await pause(AGAIN_MS, undefined, { ref: false })
  await killMarked(isLeft)
}
