import type { Notice } from '../domain/records.ts'
import type { ProjectFolder } from '../domain/run-config.ts'
import type { Localhost } from '../sandbox/namespaces.ts'
import type { PolicyFacts, Sandbox } from '../sandbox/sandbox.ts'

/** A command's output. */
export type Output = 'stdout' | 'stderr'

/** What the server sends its runner. `call` is the number of a command. */
export type ToRunner =
  | { readonly type: 'start'; readonly call: number; readonly request: StartRequest }
  | { readonly type: 'stop'; readonly call: number; readonly cause: StopCause }
  /** The body is standard input. More comes when the runner has passed it on. */
  | { readonly type: 'input'; readonly call: number }
  | { readonly type: 'input_end'; readonly call: number }
  | { readonly type: 'ping' }
  /** Of a test. */
  | { readonly type: 'crash'; readonly crash: RunnerCrash }

/** What the runner sends. */
export type FromRunner =
  /** The body is output. */
  | { readonly type: 'output'; readonly call: number; readonly output: Output }
  /** The command has got the input, or nothing reads it any more. */
  | { readonly type: 'input_done'; readonly call: number; readonly isClosed: boolean }
  | { readonly type: 'notice'; readonly call: number; readonly notice: Notice }
  /** No process of the command is alive any more. */
  | { readonly type: 'end'; readonly call: number; readonly end: CallEnd }
  | { readonly type: 'pong' }

/** Bytes of input of a command that may be on their way, so that one that reads nothing does not stop the others. */
export const INPUT_BYTES = 512 * 1024

/** A command with everything that the runner needs: the runner has no environment and no settings. */
export type StartRequest = {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  /** The folder that it works on; `cwd` is in it. */
  readonly project: string
  /** Which folder that is; left out if it is not known. */
  readonly folder?: ProjectFolder
  readonly env: Readonly<Record<string, string>>
  /** Null: it may run until it is stopped. */
  readonly timeoutMs: number | null
  /** Whether it may report a text to `REPORT_FD`. */
  readonly reports?: boolean
  /** Whether it has a standard input; otherwise it reads the end of the file at once. */
  readonly hasInput?: boolean
  readonly limits: Limits
  /** Where its control group is made; null if none can be made here. */
  readonly group: ControlGroup | null
  /** Null: it has the rights of the server. */
  readonly sandbox: Sandbox | null
  /** Whose ports on localhost it reaches: its own, if this is left out. */
  readonly localhost?: Localhost
}

/** A longer report does not count. */
export const MAX_REPORT_BYTES = 8_192

/** The limits that the runner keeps. */
export type Limits = {
  /** The memory of all processes of the command together. */
  readonly memoryBytes: number
  readonly processes: number
  /** The size of its home and its temporary files together, if they are kept on the disk. */
  readonly homeBytes: number
  /** The free space on a disk that it writes to below which it is stopped. */
  readonly freeDiskBytes: number
}

/** The control group of a server, or the one of a command in it; in version 1, that of the memory. */
export type ControlGroup = { readonly version: 1 | 2; readonly folder: string }

/** Why a command is stopped. */
export type StopCause =
  | 'timed_out'
  | 'out_of_memory'
  | 'too_many_processes'
  | 'disk_full'
  | 'too_much_output'
  | 'aborted'

/** A stop at a limit that the runner keeps. `why` is what the command did, as a part of a sentence. */
export type Stop = { readonly cause: StopCause; readonly why: string }

export type CallEnd = Ended & {
  /** How the command was isolated, if it was. */
  readonly facts?: PolicyFacts
  /** What it reported. */
  readonly report?: string
}

/** How a call ended. */
export type Ended =
  | { readonly end: 'exited'; readonly exitCode: number }
  | { readonly end: StopCause; readonly why?: string }
  /** The process that runs commands died; what the command did is not known. */
  | { readonly end: 'lost' }
  | NotStarted

export type NotStarted = {
  readonly end: 'not_found' | 'not_started' | 'not_isolated'
  /** A sentence for people. */
  readonly message: string
  /** The error code if the system is short of something, such as EMFILE. */
  readonly shortage?: string
}

/**
 * Moments of a command at which a test lets the runner die or stop. `after spawn`: nobody knows of its process yet.
 * `before its end`: nothing of it lives, and its result is not reported.
 */
export const CRASH_MOMENTS = [
  'before spawn',
  'after spawn',
  'during output',
  'while stopping',
  'before its end',
] as const
export type CrashMoment = (typeof CRASH_MOMENTS)[number]

/** What a test does to the runner. */
export const CRASH_SIGNALS = { killed: 'SIGKILL', stopped: 'SIGSTOP' } as const
export type RunnerCrash = {
  readonly moment: CrashMoment
  readonly how: keyof typeof CRASH_SIGNALS
}
