import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { foldersOf, type GroupLimits, limit } from './cgroup.ts'
import type { ControlGroup } from './protocol.ts'
import { sendSignal } from './stragglers.ts'

const RELEASE_TRIES = 20
const RELEASE_PAUSE_MS = 10

let count = 0
/** Groups of commands that have ended, by the group of their server: the kernel takes long to make one. */
const idle = new Map<string, CommandGroup[]>()
const MAX_IDLE = 64
const MAX_ROUNDS = 20

/** The control group of one command at a time. */
export class CommandGroup {
  readonly #group: ControlGroup
  readonly #idle: CommandGroup[]
  #limits: GroupLimits | null = null
  #killsBefore = 0

  /** A group without processes. Throws what the file system throws. */
  static take(server: ControlGroup, limits: GroupLimits): CommandGroup {
    const key = JSON.stringify(server)
    const unused = idle.get(key) ?? []
    idle.set(key, unused)
    const last = unused.findLastIndex((group) => group.#exists())
    const [kept] = last === -1 ? [] : unused.splice(last)
    const group = kept ?? new CommandGroup(server, unused)
    group.#begin(limits)
    return group
  }

  private constructor(server: ControlGroup, unused: CommandGroup[]) {
    this.#idle = unused
    count += 1
    // The groups of a runner that died may still be there.
    const name = `c${process.pid}-${count}`
    const child = (folder: string): string => {
      mkdirSync(join(folder, name))
      return join(folder, name)
    }
    this.#group =
      server.version === 2
        ? { version: 2, folder: child(server.folder) }
        : {
            version: 1,
            memory: child(server.memory),
            pids: server.pids === null ? null : child(server.pids),
          }
  }

  /** False if somebody has removed it while no command used it. */
  #exists(): boolean {
    return foldersOf(this.#group).every((folder) => existsSync(folder))
  }

  #begin({ memoryBytes, processes }: GroupLimits): void {
    const now = this.#limits
    if (now?.memoryBytes !== memoryBytes || now.processes !== processes) {
      this.#limits = { memoryBytes, processes }
      limit(this.#group, this.#limits)
    }
    this.#killsBefore = this.#allKills()
  }

  /** Moves a process into the group. What it starts from now on is in the group too. */
  add(pid: number): void {
    for (const folder of foldersOf(this.#group)) {
      try {
        writeFileSync(join(folder, 'cgroup.procs'), String(pid))
      } catch (cause) {
        // It has ended already.
        if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause
      }
    }
  }

  /** How many processes of the command the kernel has killed because the group had too much memory. */
  kills(): number {
    return this.#allKills() - this.#killsBefore
  }

  #allKills(): number {
    const group = this.#group
    const file =
      group.version === 2
        ? join(group.folder, 'memory.events')
        : join(group.memory, 'memory.oom_control')
    try {
      return Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0)
    } catch {
      return 0
    }
  }

  /** Kills all that is in the group, again and again while it forks. */
  killAll(): void {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const pids = this.members()
      if (pids.length === 0) return
      for (const pid of pids) sendSignal(pid, 'SIGKILL')
    }
  }

  /** The processes in it. */
  members(): number[] {
    const [folder = ''] = foldersOf(this.#group)
    try {
      const list = readFileSync(join(folder, 'cgroup.procs'), 'utf8')
      return list === '' ? [] : list.trimEnd().split('\n').map(Number)
    } catch {
      return [] // the server has removed it
    }
  }

  /** Ends the use of the group by a command whose processes are dead. The kernel may need a moment to forget them. */
  async release(): Promise<void> {
    for (let tries = 0; this.members().length > 0; tries += 1) {
      if (tries === RELEASE_TRIES) return
      await pause(RELEASE_PAUSE_MS)
    }
    if (this.#idle.length < MAX_IDLE) this.#idle.push(this)
    else for (const folder of foldersOf(this.#group)) rmdirSync(folder)
  }
}
