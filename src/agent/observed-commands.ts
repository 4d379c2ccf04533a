import { ok } from 'neverthrow'
import type { IsolationPolicy } from '../domain/isolation.ts'
import { present } from '../domain/present.ts'
import type { ProjectFolder } from '../domain/project-folder.ts'
import type { Notice, PayloadOf } from '../domain/records.ts'
import { type CommandResult, killedBy, type RunCommand } from '../runner/command.ts'
import { differenceOf } from '../runner/isolation/run-policy.ts'
import type { StartProcess } from '../runner/start-process.ts'
import type { RunSession, StepResult } from './run-session.ts'

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
  const results: Pick<CommandResult, 'end' | 'policy'>[] = []
  const asked = present({ atLeast: policy?.at_least, atMost: policy?.at_most, folder })
  return {
    runCommand: async (command) => {
      const result = await runCommand({ ...asked, ...command })
      results.push(result)
      return result
    },
    starting: (startProcess) => async (request) => {
      const started = await startProcess({ ...asked, ...request })
      results.push({ end: 'exited', ...present({ policy: started.policy }) })
      return started
    },
    observed: () => {
      const killed = results.map(killedBy).find((cause) => cause !== null)
      const differences = results.flatMap(({ policy: used }) => {
        return policy === null || used === undefined ? [] : (differenceOf(policy, used) ?? [])
      })
      const [difference] = differences
      return present({ killed_by: killed, isolation: difference })
    },
  }
}

/** How many notices are appended at once, and how long they are, so that no append is too large. */
const [MOST_AT_ONCE, MAX_LENGTH] = [200, 100_000] as const

/** Records what commands did beside their results. */
export async function recordNotices(
  session: Pick<RunSession, 'record'>,
  notices: readonly Notice[],
): Promise<StepResult> {
  for (let from = 0, to = 0; from < notices.length; from = to) {
    for (let length = 0; to < notices.length && to - from < MOST_AT_ONCE; to += 1) {
      length += JSON.stringify(notices[to]).length
      if (length > MAX_LENGTH && to > from) break
    }
    const part = notices.slice(from, to)
    const recorded = await session.record({ type: 'record_notices', notices: part })
    if (recorded.isErr()) return recorded
  }
  return ok()
}

/** Records what commands report while they run, in order and many at once if they come fast. */
export class Notices {
  readonly #session: Pick<RunSession, 'record'>
  #waiting: Notice[] = []
  #recording: Promise<void> | null = null

  constructor(session: Pick<RunSession, 'record'>) {
    this.#session = session
  }

  readonly add = (notice: Notice): void => {
    this.#waiting.push(notice)
    this.#recording ??= this.#recordAll()
  }

  /** Resolves when everything that was reported is recorded. */
  async settled(): Promise<void> {
    await this.#recording
  }

  async #recordAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const notices = this.#waiting
      this.#waiting = []
      const recorded = await recordNotices(this.#session, notices)
      // The next step of the run fails, too, and says why.
      if (recorded.isErr()) break
    }
    this.#recording = null
  }
}
