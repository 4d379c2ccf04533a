import { FileChanges } from '../domain/file-changes.ts'
import { reportOf } from '../domain/subagent-state.ts'
import { counted } from '../lib/counted.ts'
import { decode } from '../log/codec.ts'
import { foldLogged, type LoadedRun } from '../log/run-log.ts'
import type { RecordedEvent } from '../store/event-store.ts'
import { failed, type ToolOutput } from './tools/tool.ts'

/** The run of a sub-agent as far as its parent has followed it. */
export class FollowedRun {
  /** Null until it has ended. */
  output: ToolOutput | null = null
  readonly #runId: string
  readonly #changes = new FileChanges()
  #run: LoadedRun | null = null
  /** Its last reply, or the summary of its work. */
  #words = ''

  constructor(runId: string) {
    this.#runId = runId
  }

  /** Of the last record; -1 before the first. */
  get seq(): number {
    return this.#run?.state.seq ?? -1
  }

  /** @returns what observers of the parent should know */
  add(event: RecordedEvent): string | null {
    const folded = decode(event).andThen((logged) =>
      foldLogged(this.#runId, this.#run, logged).map((run) => ({ run, logged })),
    )
    if (folded.isErr()) {
      this.output = failed(`The run ${this.#runId} of the sub-agent cannot be read any more.`)
      return null
    }
    const { run, logged } = folded.value
    const { record } = logged
    this.#run = run
    this.#changes.add(logged.seq, record)
    if (record.kind === 'assistant_message') this.#words = record.payload.text ?? this.#words
    if (record.kind === 'run_summary') this.#words = record.payload.text
    if (record.kind === 'run_end') this.output = this.#report(run)
    return record.kind === 'human_check_required'
      ? `The sub-agent waits for a person: ${record.payload.summary}`
      : null
  }

  #report({ state, head }: LoadedRun): ToolOutput {
    const { phase, iteration } = state
    if (phase.type !== 'ended') throw new Error('a run that has not ended is reported')
    const { status, reason } = phase
    const subagent = reportOf(state, head)
    const { tokens, cost_usd } = subagent
    const cost = cost_usd === null ? 'an unknown price' : `$${cost_usd.toFixed(4)}`
    const files = this.#changes.files().filter(({ changed }) => changed !== 'no')
    const output = [
      `The sub-agent (run ${this.#runId}) has ended: ${status}. ${reason}`,
      `It used ${tokens} tokens for ${cost} in ${counted(iteration, 'iteration')}.`,
      files.length === 0
        ? 'It wrote no files by name.'
        : `It wrote these files: ${files.map(({ path }) => path).join(', ')}.`,
      ...(this.#words === '' ? [] : [`Its last words:\n${this.#words}`]),
    ].join('\n')
    const isOk = status === 'achieved'
    return { output, exitCode: isOk ? 0 : 1, outcome: isOk ? 'ok' : 'error', subagent }
  }
}
