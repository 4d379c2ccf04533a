import type { PayloadOf, RecordOf, RunRecord } from '../../src/domain/records.ts'
import { type Evidence, runIdIn, type StoredEvent } from './evidence.ts'
import { entryIn } from './ledger.ts'

/** Calls run in the order in which the model requested them, one at a time, and each has one result. */
export function callProblems(records: readonly RunRecord[]): string[] {
  const problems: string[] = []
  let asked: string[] = []
  let open: RecordOf<'tool_call'> | null = null
  for (const [seq, record] of records.entries()) {
    switch (record.kind) {
      case 'assistant_message':
        asked = record.payload.tool_calls.map(({ call_id }) => call_id)
        break
      case 'tool_call':
        if (open !== null) problems.push(`${seq} begins while ${open.payload.call_id} is open`)
        if (asked.shift() !== record.payload.call_id) problems.push(`${seq} is not the next call`)
        open = record
        break
      case 'tool_result':
        problems.push(...resultProblems(records, seq, record, open))
        open = null
        break
      case 'run_end':
        if (open !== null) problems.push(`${open.payload.call_id} has no result`)
        break
    }
  }
  return problems
}

/** In the result of a call whose command was lost with the process that ran it. */
const RUNNER_DIED = 'the process that runs commands has died'

function resultProblems(
  records: readonly RunRecord[],
  seq: number,
  { payload }: RecordOf<'tool_result'>,
  open: RecordOf<'tool_call'> | null,
): string[] {
  if (open?.payload.call_id !== payload.call_id) return [`${seq} is the result of no open call`]
  if (payload.outcome !== 'unknown') return []
  const problems: string[] = []
  const afterClaim = records[seq - 1]?.kind === 'run_claimed'
  const afterFailure = records[seq + 1]?.kind === 'error'
  const afterDeath = payload.output.includes(RUNNER_DIED)
  if (payload.exit_code !== null) problems.push(`${seq} is unknown, with an exit code`)
  if (!afterClaim && !afterFailure && !afterDeath) {
    problems.push(`${seq} is unknown without a claim, an error or the death of the runner`)
  }
  if (open.payload.read_only && !afterFailure) problems.push(`${seq} could have been run again`)
  return problems
}

/** The entries on disk fit the calls in the log. */
export function effectProblems(records: readonly RunRecord[], { ledger }: Evidence): string[] {
  const outcomes = outcomesByEntry(records)
  const counts = Map.groupBy(ledger, (entry) => entry)
  const problems: string[] = []
  for (const [entry, { length }] of counts) {
    if (length > 1) problems.push(`${entry} ran ${length} times`)
    if (!outcomes.has(entry)) problems.push(`${entry} ran without a tool_call`)
  }
  for (const [entry, outcome] of outcomes) {
    if (outcome === 'ok' && !counts.has(entry)) problems.push(`${entry} is ok, and never ran`)
  }
  return problems
}

function outcomesByEntry(records: readonly RunRecord[]): Map<string, string | null> {
  const outcomes = new Map<string, string | null>()
  let open: string | null = null
  for (const record of records) {
    if (record.kind === 'tool_call') {
      open = entryIn(record.payload.args.command)
      if (open !== null) outcomes.set(open, null)
    }
    if (record.kind === 'tool_result' && open !== null) outcomes.set(open, record.payload.outcome)
  }
  return outcomes
}

/** Each sub-agent that a run has started is one run, and each of the two logs names the hash of the other. */
export function subagentProblems(
  records: readonly RunRecord[],
  { runId: run_id, events, subagents }: Evidence,
): string[] {
  if (subagents === undefined) return []
  const parents = subagents.map(([first]) => first && parentOf(first))
  return records.flatMap((record, seq) => {
    if (record.kind === 'subagent_started') {
      const { call_id, run_id: child } = record.payload
      const wanted = JSON.stringify({ child, run_id, call_id, seq, hash: hashAt(events, seq) })
      const count = parents.filter((parent) => parent === wanted).length
      return count === 1 ? [] : [`${seq} started ${count} runs: ${parents}`]
    }
    if (record.kind !== 'tool_result' || record.payload.subagent === undefined) return []
    return endProblems(seq, record.payload.subagent, subagents)
  })
}

/** What the first record of a run says of its parent. */
function parentOf(first: StoredEvent): string {
  const { run_id, call_id, seq, hash } = JSON.parse(first.data).payload.parent
  return JSON.stringify({ child: runIdIn(first), run_id, call_id, seq, hash })
}

const hashAt = (events: readonly StoredEvent[], seq: number): unknown =>
  JSON.parse(events[seq]?.metadata ?? '{}').hash

/** The result names the last record of the run, unless that was still at work. */
function endProblems(
  at: number,
  { run_id, seq, hash, status }: NonNullable<PayloadOf<'tool_result'>['subagent']>,
  subagents: NonNullable<Evidence['subagents']>,
): string[] {
  const events = subagents.find(([first]) => first !== undefined && runIdIn(first) === run_id) ?? []
  const isLast = status === 'running' || seq === events.length - 1
  return isLast && hashAt(events, seq) === hash
    ? []
    : [`${at} names ${seq} of ${run_id}, with another hash or not as the last record`]
}
