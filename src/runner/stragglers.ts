import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'

/**
 * Every command carries this variable in its environment, and so do all processes that come of it.
 * On Linux they are found by it in /proc even where they left the process group by setsid and a
 * double fork. Elsewhere nothing is found, and the process group is all that is known.
 */
const MARK = 'RETRAI_COMMAND_ID'
const HAVE_PROC = process.platform === 'linux'

/** Begins the mark of every command of this server process. */
const SERVER = randomUUID()
let count = 0

/** How the mark of every command of this server begins, as it stands in an environment. */
export const serverMark = `${MARK}=${SERVER}.`

/** A mark as it is in an environment. */
export const entryOf = (mark: ReturnType<typeof newMark>): string => `${MARK}=${mark[MARK]}`

/** Variables that mark one command. */
export function newMark(): { readonly [MARK]: string } {
  count += 1
  return { [MARK]: `${SERVER}.${count}` }
}

const carries = async (pid: string, entry: string): Promise<boolean> => {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1')
    return environment.startsWith(entry) || environment.includes(`\0${entry}`)
  } catch {
    return false // gone, or of another user
  }
}

/** The living processes that carry a mark. Never rejects. */
async function marked(mark: ReturnType<typeof newMark>): Promise<number[]> {
  if (!HAVE_PROC) return []
  const entry = `${entryOf(mark)}\0`
  const names = await readdir('/proc').catch(() => [])
  const pids = names.filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => ((await carries(pid, entry)) ? [Number(pid)] : [])),
  )
  return found.flat()
}

/** Sends a signal to all living processes that carry a mark; answers how many there were. */
export async function signalMarked(
  mark: ReturnType<typeof newMark>,
  signal: NodeJS.Signals,
): Promise<number> {
  const pids = await marked(mark)
  for (const pid of pids) sendSignal(pid, signal)
  return pids.length
}

const MAX_ROUNDS = 20

/** Kills all that carry a mark, again and again while they fork, until none is found. */
export async function killMarked(mark: ReturnType<typeof newMark>): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    if ((await signalMarked(mark, 'SIGKILL')) === 0) return
  }
}

/** Sends a signal to a process, or with `-pid` to its group; false where there is none to take it. */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
