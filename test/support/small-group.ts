import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { warnOfMissing } from './missing.ts'

/** A control group in which the kernel lets processes have little memory. */
export type SmallGroup = {
  /** Memory that the process has already stays counted where it was; from now on, its memory counts here. */
  add(pid: number): void
  /** How many processes the kernel has killed for lack of memory in it. */
  kills(): number
}

const LIMIT = 0
const KILLS = 1
/** For each version of control groups, the files with the limit and the count of kills. */
const VERSIONS = {
  '/sys/fs/cgroup/memory': ['memory.limit_in_bytes', 'memory.oom_control'],
  '/sys/fs/cgroup': ['memory.max', 'memory.events'],
} as const

let count = 0

/** Whether this process may make such groups; if not, a line names what is missing. */
export const canMakeGroups: boolean = ((): boolean => {
  try {
    remove(made(1024 * 1024).folder)
    return true
  } catch {
    warnOfMissing('control groups for memory', 'run the tests as root on Linux')
    return false
  }
})()

/** Removed after the test. */
export function smallGroup(bytes: number): SmallGroup {
  const { folder, files } = made(bytes)
  onTestFinished(async () => {
    await expect.poll(() => remove(folder), { timeout: 10_000 }).toBe(true)
  })
  return {
    add: (pid) => writeFileSync(join(folder, 'cgroup.procs'), String(pid)),
    kills: () => {
      const text = readFileSync(join(folder, files[KILLS]), 'utf8')
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0)
    },
  }
}

function made(bytes: number) {
  for (const [parent, files] of Object.entries(VERSIONS)) {
    count += 1
    const folder = join(parent, `retrai-test-${process.pid}-${count}`)
    try {
      mkdirSync(folder)
      writeFileSync(join(folder, files[LIMIT]), String(bytes))
      return { folder, files }
    } catch {
      remove(folder)
    }
  }
  throw new Error('no control group can be made')
}

function remove(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch {
    return false // something still ends in it
  }
}
