import { ok } from 'neverthrow'
import type { IsolationPolicy } from '../../domain/isolation.ts'
import { present } from '../../domain/present.ts'
import type { Notice, PayloadOf } from '../../domain/records.ts'
import type { ProjectFolder } from '../../domain/run-config.ts'
import {
  type CommandResult,
  differenceOf,
  killedBy,
  type RunCommand,
} from '../../runner/command.ts'
import type { StartProcess } from '../../runner/run-command.ts'
import type { RunSession, StepResult } from './session.ts'

type Recorder = Pick<RunSession, 'record'>

/** How many notices are appended at once, so that no append is too large. */
const AT_ONCE = 100

/** What commands and servers did beside their results, in order, until it is recorded. */
export class Notices {
  readonly #waiting: Notice[] = []
  readonly #session: Recorder | null
  #recording: Promise<void> | null = null

  /** @param session where everything is recorded as soon as it is added; null: not before `record` */
  constructor(session: Recorder | null = null) {
    this.#session = session
  }

  readonly add = (notice: Notice): void => {
    this.#waiting.push(notice)
    if (this.#session === null) return
    // If it fails, the next step of the run fails, too, and says why.
    this.#recording ??= this.record(this.#session).then(() => {
      this.#recording = null
    })
  }

  /** Resolves when everything that was added is recorded. */
  async settled(): Promise<void> {
    await this.#recording
  }

  /** Records what was added so far: many at once if they come fast. */
  async record(session: Recorder): Promise<StepResult> {
    while (this.#waiting.length > 0) {
      const notices = this.#waiting.splice(0, AT_ONCE)
      const recorded = await session.record({ type: 'record_notices', notices })
      if (recorded.isErr()) return recorded
    }
    return ok()
  }
}

type Observed = Pick<PayloadOf<'tool_result'>, 'killed_by' | 'isolation'>

/**
 * Runs the commands of one call or check as its run demands, and keeps what the record must say about them.
 * @param policy how the commands of the run are isolated by its first record; null for runs of earlier versions
 * @param folder which folder its project is
 */
export function observe(
  runCommand: RunCommand,
  policy: IsolationPolicy | null,
  folder?: ProjectFolder,
): {
  readonly runCommand: RunCommand
  /** The same for processes that work in the background. */
  readonly starting: (startProcess: StartProcess) => StartProcess
  readonly observed: () => Observed
} {
  let seen: Observed = {}
  const note = (result: Parameters<typeof killedBy>[0] & Pick<CommandResult, 'policy'>): void => {
    const { policy: used } = result
    const isolation = policy !== null && used !== undefined ? differenceOf(policy, used) : null
    // The first of each counts.
    seen = { ...present({ killed_by: killedBy(result), isolation }), ...seen }
  }
  const asked = present({ atLeast: policy?.at_least, folder })
  return {
    runCommand: async (command) => {
      const result = await runCommand({ ...asked, ...command })
      note(result)
      return result
    },
    starting: (startProcess) => async (request) => {
      const started = await startProcess({ ...asked, ...request })
      note({ end: 'exited', ...present({ policy: started.policy }) })
      return started
    },
    observed: () => seen,
  }
}
