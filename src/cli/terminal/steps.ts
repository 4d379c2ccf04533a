import type { Err } from 'neverthrow'
import type { RequestError } from '../../client/index.ts'
import { oneLine } from '../../domain/plain-text.ts'
import type { EndStatus } from '../../domain/records.ts'
import { io } from './io.ts'
import { say } from './print.ts'

// biome-ignore lint/suspicious/noConfusingVoidType: most commands return nothing
type ExitCode = number | void

/**
 * What a command does: steps that may fail with a text for people (`yield*` a Result to continue with its value). It
 * returns the exit code, or nothing if that is 0.
 */
export type Steps<T = ExitCode> = AsyncGenerator<Err<never, string>, T, unknown>

/** The same of a command that talks to a server: a call that fails is a step that fails. */
export type Calls<T = ExitCode> = AsyncGenerator<Err<never, string | RequestError>, T, unknown>

/** The action of a command that needs no server. */
export const offline =
  <G extends readonly unknown[]>(work: (...given: G) => Steps) =>
  (...given: G): Promise<void> =>
    endingWith(() => work(...given))

/** Does the work of a command, and sets its exit code; or prints why it failed. */
export async function endingWith(work: () => Steps): Promise<void> {
  const steps = work()
  const { done, value } = await steps.next()
  if (done === true) {
    io().exitCode = typeof value === 'number' ? value : EXIT.done
    return
  }
  // What is open is closed on the way out.
  await steps.return(undefined)
  say(`retrai: ${oneLine(value.error)}`)
  io().exitCode = EXIT.notDone
}

/** Exit codes of the commands that talk to a server. */
export const EXIT = {
  done: 0,
  failed: 1,
  aborted: 2,
  /** stderr says why. */
  notDone: 3,
  /** A server ends so that whoever supervises it starts it again: EX_TEMPFAIL of sysexits.h. */
  startAgain: 75,
  /** What shells use for SIGINT. */
  interrupted: 130,
} as const

const BY_STATUS: Readonly<Record<EndStatus, number>> = {
  achieved: EXIT.done,
  failed: EXIT.failed,
  aborted: EXIT.aborted,
}

export const exitCodeOf = (status: EndStatus): number => BY_STATUS[status]

export const OUTCOME_EXIT_CODES = `
Exit codes:
  0    the goal was achieved
  1    the run failed: it ended without reaching the goal
  2    the run was aborted
  3    the command failed: no server, no such run, a wrong option; stderr says
       why
  130  Ctrl+C: you stopped watching, and the run continues`

export const PLAIN_EXIT_CODES = `
Exit codes:
  0    done
  3    the command failed: no server, no such run, a wrong option; stderr says
       why`
