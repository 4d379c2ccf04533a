import { THREADS_PER_PROCESS } from '../cgroup.ts'
import { REPORT_FD, type StartRequest } from '../protocol.ts'
import type { OpenedProject } from './sandbox.ts'

/** The descriptors of the shell at the gate of a container. A command that may report keeps the first one. */
export const GATE_FD = REPORT_FD
const COMMAND_FD = 6

/** The largest file that a command can write. */
export const MAX_FILE_BYTES = 16 * 1024 * 1024 * 1024
const FILE_BLOCKS = MAX_FILE_BYTES / 512

/** What a container reports at its gate, before the command begins or does not. */
export const GATE = { ready: 'ready', started: 'started', notFound: 'not_found' } as const

/**
 * The first process of a container: its end is the end of all that the command left. The command begins only after the
 * runner has answered: then the container is in its control group, the kernel knows with what it ends, and `COMMAND_FD`
 * names the command.
 * @param before what prepares the home and the network of the command
 * @param run how it becomes the command
 */
export const prelude = (before: string, run: string): string => `echo ${GATE.ready} >&${GATE_FD}
read -r _ <&${GATE_FD} || exit 125
. /proc/self/fd/${COMMAND_FD}; exec ${COMMAND_FD}<&-
cd "$1" || exit 126; retrai_threads=$2 retrai_reports=$3; shift 3
command -v "$1" >/dev/null 2>&1 || { echo ${GATE.notFound} >&${GATE_FD}; exit 127; }
echo ${GATE.started} >&${GATE_FD}; [ "$retrai_reports" ] || exec ${GATE_FD}>&-
exec 4>&2 2>/dev/null
${before}
echo 1000 >/proc/self/oom_score_adj; ulimit -c 0; ulimit -f ${FILE_BLOCKS}; ulimit -u "$retrai_threads" || ulimit -p "$retrai_threads"
${run}`

/** What a container runs, and where it starts: a path on the host. */
export type ContainedCommand = Pick<StartRequest, 'file' | 'args' | 'cwd' | 'reports'> & {
  readonly processes: number
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/**
 * What the shell at the gate reads: its arguments, and variables of the command alone.
 * @param variables those that no program before the command may have
 */
export function commandScript(
  command: ContainedCommand,
  variables: readonly (readonly [string, string])[] = [],
): string {
  const { file, args, cwd, processes, reports = false } = command
  const threads = String(processes * THREADS_PER_PROCESS)
  const words = [cwd, threads, reports ? 'yes' : '', file, ...args].map(quoted)
  const exported = variables.map(([name, value]) => `export ${name}=${quoted(value)}\n`)
  return withoutNul([...exported, `set -- ${words.join(' ')}\n`]).join('')
}

/** Process 1 is the shell itself, which a command cannot signal, or one of bwrap's own. */
export const howToRun = (user: OpenedProject['user']): string =>
  user === null ? '(exec "$@") 2>&4 4>&-\nexit $?' : 'exec "$@" 2>&4 4>&-'

/** Throws if one cannot be passed to a process. */
export function withoutNul(texts: readonly string[]): readonly string[] {
  if (texts.some((text) => text.includes('\0'))) throw new Error('it contains a NUL')
  return texts
}
