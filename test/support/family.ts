import type { RunRecord } from '../../src/domain/records.ts'
import type { Parent, SubagentEnd } from '../../src/domain/subagents.ts'
import { type LoadedRun, streamOf } from '../../src/log/run-log.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { by, check, claim, create, given, reply, result, type Step } from '../domain/support.ts'
import { prepare } from './append-records.ts'

const SUBAGENT_ID = '6ba7b810-9dad-41d1-80b4-00c04fd430c8'

/** What a run and its sub-agent say of each other. */
type Lies = {
  readonly ofParent?: (parent: Parent) => Parent
  readonly ofEnd?: (end: SubagentEnd) => SubagentEnd
}

/** Chained events of a run, in appends. */
class Stream {
  readonly runId: string
  readonly records: RunRecord[] = []
  readonly events: RecordedEvent[] = []
  #after: LoadedRun | null = null

  constructor(runId: string) {
    this.runId = runId
  }

  /** Appends what follows from these steps, which begin with those of the call before. */
  continue(steps: readonly Step[]): void {
    const records = given(...steps).records.slice(this.records.length)
    const commandId = String(this.events.length)
    const { events, after } = prepare(this.runId, this.#after, records, { commandId })
    this.#after = after
    this.records.push(...records)
    for (const event of events) {
      const revision = this.events.length
      const place = { stream: streamOf(this.runId), revision, position: String(revision) }
      this.events.push({ ...event, ...place, created: 1_770_000_000_000 + revision })
    }
  }

  /** The last record, as the other run names it. */
  get last(): { readonly seq: number; readonly hash: string } {
    return { seq: this.events.length - 1, hash: this.#after?.head ?? '' }
  }
}

/** A run that starts a sub-agent, and the run of that, which a person aborts. The first reaches its goal. */
export function familyOf({ ofParent = (it) => it, ofEnd = (it) => it }: Lies = {}) {
  const created = create()
  if (created.type !== 'create') throw new Error('a run is created')
  const { runId, config } = created
  const start = { call_id: 'c0', run_id: SUBAGENT_ID, config }
  const steps: Step[] = [
    created,
    claim(),
    reply(['run_subagent']),
    by('p1', { type: 'start_subagent', start }),
  ]
  const parent = new Stream(runId)
  parent.continue(steps)
  const named = ofParent({ run_id: runId, call_id: 'c0', depth: 1, ...parent.last })
  const subagent = new Stream(SUBAGENT_ID)
  const abort = { type: 'abort', reason: null } as const
  subagent.continue([{ ...created, runId: SUBAGENT_ID, parent: named }, claim(), abort])
  const used = { tokens: 0, cost_usd: 0, waited_seconds: 0 }
  const end: SubagentEnd = { run_id: SUBAGENT_ID, status: 'aborted', ...used, ...subagent.last }
  const done = result('c0', 'run_subagent')
  if (done.type !== 'record_tool_result') throw new Error('a result is recorded')
  parent.continue([
    ...steps,
    { ...done, result: { ...done.result, subagent: ofEnd(end) } },
    check(true),
  ])
  return { parent, subagent }
}
