/** Kept of each stream of a command that names no limit: 1 MiB. */
export const DEFAULT_MAX_BYTES = 1_048_576

/** A program to run, in a process group of its own. */
export type Command = {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly timeoutMs: number
  /** Added to the allow-listed environment; the server's own variables and keys are never passed. */
  readonly env?: Readonly<Record<string, string>>
  /**
   * Bytes kept of each of stdout and stderr, and of both together: half from the beginning, half from
   * the end. What lies between is counted and dropped, and a line in its place says so.
   */
  readonly maxBytes?: number
  readonly signal: AbortSignal
}

export type CommandResult = {
  /** How it ended: by itself, at its time limit, with its run, or not at all for lack of a program. */
  readonly end: 'exited' | 'timed_out' | 'aborted' | 'not_found' | 'not_started'
  /** Null unless it exited by itself; 128 + n when a signal n ended it. */
  readonly exitCode: number | null
  /** As text, with secrets masked. */
  readonly stdout: string
  readonly stderr: string
  /** stdout and stderr as they came, interleaved. */
  readonly output: string
  /** Bytes written in all, kept or not. */
  readonly bytes: number
  readonly durationMs: number
}

/** Runs a command to its end. Never rejects; kills the whole process group at the time limit or abort. */
export type RunCommand = (command: Command) => Promise<CommandResult>
