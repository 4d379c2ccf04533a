import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Limits, Stop } from './protocol.ts'

/** A command whose memory is watched. Its processes are those of its group, of its namespace, or with its mark. */
type Watched = {
  /** The process that leads its session. */
  readonly pid: number
  /** Its entry in the environment of all its processes: `NAME=value`; null if it has a namespace. */
  readonly mark: string | null
  /** The pid namespace that the command has to itself; null if it has none, or none yet. */
  readonly namespace: () => string | null
  /** Its processes, if it cannot leave its control group; null if they have to be searched for. */
  readonly members: () => readonly number[] | null
  readonly limits: Pick<Limits, 'memoryBytes' | 'processes' | 'all'>
  /** How many of its processes the kernel has killed for their memory. */
  readonly kills: () => number
  readonly onTooMuch: (stop: Stop) => void
}

/** Whether memory and processes of commands can be limited here: only Linux reports what each process uses. */
export const canLimitMemory: boolean =
  process.platform === 'linux' && existsSync('/proc/self/status')

const MIB = 1024 * 1024
const INTERVAL_MS = 200
/** The share of time that looks may take. With many processes a look takes long, so the next one is later. */
const MAX_SHARE = 0.05
/** While all commands are younger than this, nothing is looked at: most are over by then. */
const YOUNG_MS = 100

const watches = new Map<number, Watched & { readonly since: number }>()
/** The command without a namespace that a process belongs to, or null, and the time at which the process began. */
const known = new Map<number, { readonly began: string; readonly watch: number | null }>()
let count = 0
let isLooking = false

/**
 * Watches how many processes a command has and their memory, until the returned function is called.
 *
 * Where no control group can be made, only this limits memory. The kernel's limits for a process (RLIMIT_AS, RLIMIT_DATA) count what
 * Node, Go, the JVM and sanitizers only reserve: Node with eight idle worker threads has 6 GB of address space and 5 GB
 * of data, and uses 85 MB of memory.
 * @param watched `onTooMuch` is called when it exceeds a limit, or all commands together exceed theirs and it uses the
 * most, perhaps more than once
 */
export function watchProcesses(watched: Watched): () => void {
  if (!canLimitMemory) return () => {}
  count += 1
  const id = count
  watches.set(id, { ...watched, since: performance.now() })
  if (!isLooking) {
    isLooking = true
    setTimeout(look, INTERVAL_MS)
  }
  return () => {
    watches.delete(id)
  }
}

function look(): void {
  isLooking = watches.size > 0
  if (!isLooking) {
    known.clear()
    return
  }
  const begun = performance.now()
  if ([...watches.values()].some(({ since }) => begun - since >= YOUNG_MS)) {
    const used = [...members()].flatMap(([id, pids]): Used[] => {
      const watched = watches.get(id)
      return watched === undefined ? [] : [{ watched, pids, bytes: sum(pids, roughBytes) }]
    })
    for (const one of used) stopBeyondOwn(one)
    stopBeyondAll(used)
  }
  const took = performance.now() - begun
  setTimeout(look, Math.max(INTERVAL_MS, took / MAX_SHARE))
}

type Used = {
  readonly watched: Watched
  readonly pids: readonly number[]
  readonly bytes: number
}

const mib = (bytes: number): string => `${Math.floor(bytes / MIB)} MiB`

/** What a command at its limit of memory did, as a part of a sentence. */
export const tooMuchMemory = ({ memoryBytes }: Pick<Limits, 'memoryBytes'>): string =>
  `used more than ${mib(memoryBytes)} of memory`

/** Stops a command that uses more than its own limits. */
function stopBeyondOwn({ watched, pids, bytes }: Used): void {
  const { limits, onTooMuch, kills } = watched
  // The first sum is cheap, but counts shared memory once per process; the second counts it once.
  const isTooLarge = bytes > limits.memoryBytes && sum(pids, exactBytes) > limits.memoryBytes
  if (isTooLarge || kills() > 0) {
    onTooMuch({ cause: 'out_of_memory', why: tooMuchMemory(limits) })
  } else if (pids.length > limits.processes) {
    const why = `had more than ${limits.processes} processes`
    onTooMuch({ cause: 'too_many_processes', why })
  }
}

/** Stops the command that uses the most if all together use more than they may. */
function stopBeyondAll(used: readonly Used[]): void {
  const [first] = used
  if (first === undefined || used.length < 2) return
  const { all } = first.watched.limits
  const total = (of: (one: Used) => number): number => used.reduce((sum, one) => sum + of(one), 0)
  const most = (of: (one: Used) => number): Used =>
    used.reduce((most, one) => (of(one) > of(most) ? one : most), first)
  if (total(({ bytes }) => bytes) > all.memoryBytes) {
    const exact = used.map((one) => ({ ...one, bytes: sum(one.pids, exactBytes) }))
    if (exact.reduce((total, { bytes }) => total + bytes, 0) > all.memoryBytes) {
      const why = `used the most memory of all commands, which together used more than ${mib(all.memoryBytes)}`
      most(({ bytes }) => bytes).watched.onTooMuch({ cause: 'out_of_memory', why })
    }
  }
  if (total(({ pids }) => pids.length) > all.processes) {
    const why = `had the most processes of all commands, which together had more than ${all.processes}`
    most(({ pids }) => pids.length).watched.onTooMuch({ cause: 'too_many_processes', why })
  }
}

const sum = (pids: readonly number[], bytesOf: (pid: number) => number): number =>
  pids.reduce((total, pid) => total + bytesOf(pid), 0)

/** The processes of each command. */
function members(): Map<number, readonly number[]> {
  const found = new Map<number, readonly number[]>()
  const byNamespace = new Map<string, number>()
  let areMarked = false
  for (const [id, { mark, namespace, members }] of watches) {
    const own = members()
    if (own !== null) found.set(id, own)
    else if (mark !== null) areMarked = true
    else {
      const own = namespace()
      if (own !== null) byNamespace.set(own, id)
    }
  }
  if (!areMarked) known.clear()
  if (!areMarked && byNamespace.size === 0) return found
  const alive = new Set<number>()
  for (const name of processNames()) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    // For a process in a container this is enough: it may have left its session and its environment.
    const contained = byNamespace.size === 0 ? undefined : byNamespace.get(namespaceOf(pid) ?? '')
    const id = contained ?? (areMarked ? markedWatchOf(pid) : null)
    if (id === undefined) continue
    alive.add(pid)
    if (id !== null && watches.has(id)) found.set(id, [...(found.get(id) ?? []), pid])
  }
  for (const pid of known.keys()) if (!alive.has(pid)) known.delete(pid)
  return found
}

/** What is in /proc. */
export function processNames(): string[] {
  try {
    return readdirSync('/proc')
  } catch {
    return [] // this process is out of descriptors; it looks again soon
  }
}

/** The command whose session a process is in, or whose mark it has; undefined if the process is gone. */
function markedWatchOf(pid: number): number | null | undefined {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === '') return undefined
  // After the name, which is in parentheses and may hold anything: state, parent, group, session, …
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const session = Number(fields[3])
  const began = fields[19] ?? ''
  const led = bySession(session)
  if (led !== null) return led
  const before = known.get(pid)
  if (before?.began === began) return before.watch
  const watch = byMark(read(`/proc/${pid}/environ`))
  known.set(pid, { began, watch })
  return watch
}

function bySession(session: number): number | null {
  for (const [id, { pid, mark }] of watches) if (mark !== null && pid === session) return id
  return null
}

/** The pid namespace of a process; null if it is gone or of another user. */
export function namespaceOf(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return null
  }
}

function byMark(environment: string): number | null {
  const entries = `\0${environment}`
  for (const [id, { mark }] of watches) {
    if (mark !== null && entries.includes(`\0${mark}\0`)) return id
  }
  return null
}

/** The own memory of a process, including what is swapped out. */
const roughBytes = (pid: number): number =>
  kibOf(read(`/proc/${pid}/status`), ['RssAnon', 'RssShmem', 'VmSwap']) * 1024

/** The same, but a page that n processes share counts as an nth of it for each. */
function exactBytes(pid: number): number {
  const rollup = read(`/proc/${pid}/smaps_rollup`)
  if (!rollup.includes('Pss_Anon:')) return roughBytes(pid)
  return kibOf(rollup, ['Pss_Anon', 'Pss_Shmem', 'SwapPss']) * 1024
}

function kibOf(text: string, names: readonly string[]): number {
  let total = 0
  for (const line of text.split('\n')) {
    const [name = '', amount = '0'] = line.split(':')
    if (names.includes(name)) total += Number.parseInt(amount, 10)
  }
  return total
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return '' // gone, or of another user
  }
}
