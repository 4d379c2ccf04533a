import type { RunRecord } from '../../src/domain/records.ts'
import type { Parent, SubagentEnd } from '../../src/domain/related-runs.ts'
import { GENESIS } from '../../src/log/chain.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { by, check, claim, create, given, reply, result, type Step } from '../domain/support.ts'
import { chained } from './run-records.ts'

export const SUBAGENT_ID = '6ba7b810-9dad-41d1-80b4-00c04fd430c8'

/** Changes what a run and its sub-agent record about each other. */
type Alterations = {
  readonly ofParent?: (parent: Parent) => Parent
  readonly ofEnd?: (end: SubagentEnd) => SubagentEnd
  /** Any record of either run, before it is hashed, so the chain holds. */
  readonly ofRecord?: (record: RunRecord) => RunRecord
}

/** Chained events of a run, in appends. */
class Stream {
  readonly runId: string
  readonly records: RunRecord[] = []
  readonly events: RecordedEvent[] = []
  readonly #alter: NonNullable<Alterations['ofRecord']>
  #head = GENESIS

  constructor(runId: string, alter: NonNullable<Alterations['ofRecord']>) {
    this.runId = runId
    this.#alter = alter
  }

  /** Appends the records of the new steps. The steps begin with those of the previous call. */
  continue(steps: readonly Step[]): void {
    const records = given(...steps).records.slice(this.records.length)
    const events = chained(this.runId, records.map(this.#alter), this.events.length, this.#head)
    this.records.push(...records)
    this.events.push(...events.map(({ event }) => event))
    this.#head = events.at(-1)?.hash ?? this.#head
  }

  /** The last record, as the other run names it. */
  get last(): { readonly seq: number; readonly hash: string } {
    return { seq: this.events.length - 1, hash: this.#head }
  }
}

/** A run whose agent asked for two sub-agents in one reply, and their runs. `told` are the instructions that the runs record. */
export function siblingsOf(told = ['Read.', 'Write.']) {
  const created = create()
  if (created.type !== 'create') throw new Error('a run is created')
  const { runId, config } = created
  const tool_calls = ['Read.', 'Write.'].map((instructions, n) => {
    return { call_id: `c${n}`, tool: 'run_subagent', args: { instructions } }
  })
  const asked = reply([], 100, 0.01, { tool_calls })
  const parent = new Stream(runId, (record) => record)
  const steps: Step[] = [created, claim(), asked]
  const children = told.map((instructions, n) => {
    const run_id = `${SUBAGENT_ID.slice(0, -1)}${n}`
    steps.push(
      by('p1', {
        type: 'record',
        made: { subagent_started: { call_id: `c${n}`, run_id, config } },
      }),
    )
    parent.continue(steps)
    const named = { run_id: runId, call_id: `c${n}`, depth: 1, ...parent.last }
    const child = new Stream(run_id, (record) => record)
    child.continue([{ ...created, runId: run_id, instructions, parent: named }, claim()])
    return child
  })
  return [parent, ...children].flatMap(({ events }) => events)
}

/** A run that starts a sub-agent and reaches its goal, and the run of the sub-agent, which a person aborts. */
export function familyOf({
  ofParent = (it) => it,
  ofEnd = (it) => it,
  ofRecord = (it) => it,
}: Alterations = {}) {
  const created = create()
  if (created.type !== 'create') throw new Error('a run is created')
  const { runId, config } = created
  const start = { call_id: 'c0', run_id: SUBAGENT_ID, config }
  const steps: Step[] = [
    created,
    claim(),
    reply(['run_subagent']),
    by('p1', { type: 'record', made: { subagent_started: start } }),
  ]
  const parent = new Stream(runId, ofRecord)
  parent.continue(steps)
  const named = ofParent({ run_id: runId, call_id: 'c0', depth: 1, ...parent.last })
  const subagent = new Stream(SUBAGENT_ID, ofRecord)
  const abort = { type: 'abort', reason: null } as const
  const born = { ...created, runId: SUBAGENT_ID, parent: named }
  subagent.continue([born, claim(), reply(['bash_exec']), abort])
  const used = { tokens: 100, cost_usd: 0.01, waited_seconds: 0 }
  const end: SubagentEnd = { run_id: SUBAGENT_ID, status: 'aborted', ...used, ...subagent.last }
  const failed = { outcome: 'error', exit_code: 1, subagent: ofEnd(end) } as const
  const done = result('c0', 'run_subagent', 'done', 'ok', failed)
  parent.continue([...steps, done, check(true)])
  return { parent, subagent }
}
