import type { CommanderError } from 'commander'
import type { EndStatus } from '../../domain/records.ts'

/** Exit codes of the commands that talk to a server. */
export const EXIT = {
  done: 0,
  failed: 1,
  aborted: 2,
  /** stderr says why. */
  notDone: 3,
  /** What shells use for SIGINT. */
  interrupted: 130,
} as const

const BY_STATUS: Readonly<Record<EndStatus, number>> = {
  achieved: EXIT.done,
  failed: EXIT.failed,
  aborted: EXIT.aborted,
}

export const exitCodeOf = (status: EndStatus): number => BY_STATUS[status]

/** For `exitOverride`: wrong options end with the exit code for a command that could not be carried out. */
export function exitWithOurs({ exitCode }: CommanderError): never {
  process.exit(exitCode === 0 ? EXIT.done : EXIT.notDone)
}

export const OUTCOME_EXIT_CODES = `
Exit codes:
  0    the goal was achieved
  1    the run failed: it ended without reaching the goal
  2    the run was aborted
  3    the command failed: no server, no such run, a wrong option; stderr says why
  130  Ctrl+C: you stopped watching, and the run continues`

export const PLAIN_EXIT_CODES = `
Exit codes:
  0    done
  3    the command failed: no server, no such run, a wrong option; stderr says why`
