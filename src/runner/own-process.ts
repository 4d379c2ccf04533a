import { closeSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/** Closes what was left open by the process that started the server, except the pipe at 3: commands would inherit it. */
export function closeInherited(): void {
  const O_CLOEXEC = 0o2000000
  const folder = '/proc/self/fdinfo'
  if (!existsSync(folder)) return
  for (const descriptor of readdirSync(folder)
    .map(Number)
    .filter((number) => number > 3)) {
    try {
      const flags = /^flags:\s+([0-7]+)$/m.exec(
        readFileSync(`${folder}/${descriptor}`, 'utf8'),
      )?.[1]
      // Node and libuv mark all of their own.
      if (flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0)
        closeSync(descriptor)
    } catch {
      // It was the one that read the folder.
    }
  }
}

/** Of 0 to 19: the server gets about five times the processor time of the runner when both want it. */
const NICENESS = 7

/**
 * Lets the server go first on a busy machine: the runner, and all that it starts, take what the server leaves. Many
 * commands at once would otherwise make every request wait for its turn among them.
 */
export function giveWay(): void {
  setPriority(NICENESS)
  try {
    // Where Linux shares the processor out by sessions, the runner has a session of its own, which counts instead.
    writeFileSync('/proc/self/autogroup', String(NICENESS))
  } catch {
    // It does not do so here.
  }
}
