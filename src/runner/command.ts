import type {
  IsolationDifference,
  IsolationPolicy,
  KilledBy,
  RecordedLevel,
} from '../domain/isolation.ts'
import type { Network } from '../domain/network.ts'
import { present } from '../domain/present.ts'
import type { Notice } from '../domain/records.ts'
import { messageOf, shortageOf } from '../lib/message-of.ts'
import { wordSet } from '../lib/text.ts'
import { MAX_FILE_BYTES } from '../sandbox/container-shell.ts'
import type { IsolatedProgram, Isolation } from '../sandbox/isolation.ts'
import type { PolicyFacts } from '../sandbox/sandbox.ts'
import { canLimitMemory } from './processes.ts'
import type { ControlGroup, Ended, Limits, NotStarted } from './protocol.ts'

/** Bytes kept of each stream of a command without a limit of its own: 1 MiB. */
export const DEFAULT_MAX_BYTES = 1_048_576

/** The limits of every command of a server. */
export type CommandLimits = Limits & {
  /** The most that a command prints. */
  readonly outputBytes: number
  /** The limits of all commands together, which only control groups keep. */
  readonly all: Pick<Limits, 'memoryBytes' | 'processes'>
  /** Where control groups of commands are made; null if they cannot be made here. */
  readonly group: ControlGroup | null
  /** The names of variables of the server that commands of agents and checks see beside the usual ones. */
  readonly variables: readonly string[]
}

/** A program to run, in a process group of its own. */
export type Command = IsolatedProgram & {
  readonly file: string
  readonly args: readonly string[]
  readonly timeoutMs: number
  /** Added to the allow-listed environment; the server's own variables and keys are never passed. */
  readonly env?: Readonly<Record<string, string>>
  /**
   * Bytes kept of each of stdout and stderr, and of both together: half from the beginning, half from the end. The
   * bytes between them are counted and dropped, and a line in their place has their number.
   */
  readonly maxBytes?: number
  /** Limit of the memory of all its processes together, in bytes, if it is lower than that of all commands. */
  readonly maxMemoryBytes?: number
  /**
   * `joins`: it reaches the ports of its run's background processes on localhost. `opens`: it is such a process. If
   * left out, it reaches only its own ports.
   */
  readonly localhost?: 'joins' | 'opens'
  /** Whether it may report a text to `REPORT_FD`, which only its own processes can do. */
  readonly reports?: boolean
  /** The level of isolation that the run asks for; if this server cannot keep it, the command is not started. */
  readonly atLeast?: RecordedLevel
  /** Called with what the run records beside the result, before the result. */
  readonly onNotice?: (notice: Notice) => void
  /** Called with pieces of its output as it comes, with secrets masked. */
  readonly onOutput?: (text: string) => void
  readonly signal: AbortSignal
}

export type CommandResult = {
  /**
   * How it ended: by itself, at a limit of time, memory or output, or with its run. Or it was not started: `not_isolated`
   * if it cannot be isolated as it must be. `lost`: the process that runs commands died, and what the command did is not known.
   */
  readonly end: Ended['end']
  /** What it did before it was stopped at a limit, as a part of a sentence. */
  readonly why?: string
  /** The error code, such as EMFILE, if it was not started because the system is short of something. */
  readonly shortage?: string
  /** Null unless it exited by itself; 128 + n if signal n ended it. */
  readonly exitCode: number | null
  /** As text, with secrets masked. */
  readonly stdout: string
  readonly stderr: string
  /** stdout and stderr in the order in which they came. */
  readonly output: string
  /** Bytes written in all, kept or not. */
  readonly bytes: number
  readonly durationMs: number
  /** What it reported, if it exited by itself. */
  readonly report?: string
  /** How it was isolated; absent if it was not started. */
  readonly policy?: IsolationPolicy
}

/** Runs a command to its end. Never rejects; kills the whole process group at a limit or abort. */
export type RunCommand = (command: Command) => Promise<CommandResult>

const KILLED_BY: Readonly<Partial<Record<CommandResult['end'], KilledBy>>> = {
  timed_out: 'time',
  out_of_memory: 'memory',
  too_many_processes: 'processes',
  disk_full: 'disk',
  too_much_output: 'output',
  aborted: 'abort',
}

/** What ended a command; null if it ended by itself, or if that is not known. */
export const killedBy = ({ end }: Pick<CommandResult, 'end'>): KilledBy | null =>
  KILLED_BY[end] ?? null

/**
 * The end of a command that failed with this error before it began.
 * @param what what could not be done, as the beginning of a sentence
 */
export function notStarted(what: string, cause: unknown): NotStarted {
  const shortage = shortageOf(cause)
  const message = `${what}: ${messageOf(cause)}`
  return { end: 'not_started', message, ...present({ shortage }) }
}

/**
 * The only variables of the server's own environment that commands get. It lists what is allowed, because a list of
 * secrets is never complete: keys, tokens and proxies with passwords are not passed on.
 */
const ALLOWED = wordSet(`
  PATH HOME USER LOGNAME SHELL TERM TZ TMPDIR TMP TEMP LANG LANGUAGE COLUMNS LINES XDG_CACHE_HOME
  XDG_CONFIG_HOME XDG_DATA_HOME XDG_RUNTIME_DIR SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS
  VIRTUAL_ENV CONDA_PREFIX PYENV_ROOT PYENV_VERSION NVM_DIR VOLTA_HOME BUN_INSTALL CARGO_HOME
  RUSTUP_HOME GOPATH GOROOT GOCACHE GOMODCACHE GOTOOLCHAIN JAVA_HOME
`)
const ALLOWED_PREFIX = 'LC_'

/**
 * No command waits for a person or a terminal, leaves files in a project by looking at it, prints progress bars, or keeps
 * to itself what it has printed when it is stopped.
 */
const FIXED: Readonly<Record<string, string>> = {
  GIT_TERMINAL_PROMPT: '0',
  GIT_EDITOR: 'true',
  GIT_PAGER: 'cat',
  PAGER: 'cat',
  MANPAGER: 'cat',
  PIP_PROGRESS_BAR: 'off',
  TQDM_DISABLE: '1',
  PYTHONDONTWRITEBYTECODE: '1',
  PYTHONUNBUFFERED: '1',
}

/**
 * The PATH of the server without the packages that a package manager added when it started the server, and without
 * those of retrAI: a goal must not be reached with the programs of another project. A project's own tools are found by
 * its scripts.
 */
export function commandPath(path = ''): string {
  const folders = path.split(':').filter((folder) => !folder.split('/').includes('node_modules'))
  return folders.some(Boolean) ? folders.join(':') : '/usr/local/bin:/usr/bin:/bin'
}

/** The environment of a command: the allowed part of `own`, what is always set, then `added`. */
export function commandEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  added: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const passed = Object.entries(own).flatMap(([name, value]) => {
    const isPassed = ALLOWED.has(name) || name.startsWith(ALLOWED_PREFIX)
    return isPassed && value !== undefined ? [[name, value] as const] : []
  })
  return { ...Object.fromEntries(passed), PATH: commandPath(own.PATH), ...FIXED, ...added }
}

/** What a run asks for beside the isolation that the server gives every run. */
export type Wanted = {
  readonly atLeast: RecordedLevel | null
  /** Without presets. */
  readonly network: Network
}

/** The policy of a command, or of the commands of a run. */
export function policyOf(
  { level }: Pick<Isolation, 'level'>,
  facts: PolicyFacts,
  limits: CommandLimits,
  wanted: Network = 'none',
): IsolationPolicy {
  const { memoryBytes, processes, group, variables } = limits
  const memory_by = group === null ? 'watch' : 'cgroup'
  // Only containers have a network of their own, and without isolation there is no home of the run.
  const isContained = level === 'namespaces'
  const hasHome = isContained || level === 'landlock'
  return {
    level: level ?? 'refused',
    ...(isContained ? networkOf(wanted) : { network: level === 'none' ? 'host' : 'none' }),
    visible: facts.visible,
    writable: facts.writable,
    protected: facts.protected,
    ...(variables.length === 0 ? {} : { variables }),
    ...present({ user: facts.user }),
    limits: {
      ...(canLimitMemory ? { memory_bytes: memoryBytes, memory_by, processes } : {}),
      output_bytes: limits.outputBytes,
      ...(isContained ? { file_bytes: MAX_FILE_BYTES } : {}),
      ...(hasHome ? { home_bytes: limits.homeBytes } : {}),
      free_disk_bytes: limits.freeDiskBytes,
    },
    policy_sha256: facts.policy_sha256,
  }
}

const networkOf = (wanted: Network): Pick<IsolationPolicy, 'network' | 'hosts'> =>
  typeof wanted === 'string' ? { network: wanted } : { network: 'allow-list', hosts: wanted.allow }

/** How the isolation of a command differs from what its run says; null if it does not. */
export function differenceOf(
  run: IsolationPolicy,
  used: IsolationPolicy,
): IsolationDifference | null {
  // A policy without variables does not name them.
  const isWithout = run.variables !== undefined && used.variables === undefined
  const all = isWithout ? { ...used, variables: [] } : used
  const differing = Object.entries(all).filter(([name, value]) => {
    return JSON.stringify(value) !== JSON.stringify(run[name as keyof IsolationPolicy])
  })
  return differing.length === 0 ? null : Object.fromEntries(differing)
}
