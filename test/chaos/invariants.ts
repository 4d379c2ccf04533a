import { fold } from '../../src/domain/evolve.ts'
import { RunRecord } from '../../src/domain/records.ts'
import { AFTER_THE_END } from '../../src/domain/state.ts'
import { callProblems, effectProblems, subagentProblems } from './call-invariants.ts'
import { chainProblems } from './chain.ts'
import { claims, humanChecks, iterations, messages, sums } from './course-invariants.ts'
import type { Evidence } from './evidence.ts'
import {
  acknowledgementProblems,
  detailsProblems,
  observationProblems,
} from './outside-invariants.ts'

/** An invariant that does not hold, and why. */
export type Violation = { readonly invariant: string; readonly message: string }

type Check = (records: readonly RunRecord[], evidence: Evidence) => string[]

/** What holds for every run, whatever happens to its server. */
const INVARIANTS: Readonly<Record<string, Check>> = {
  'seq is dense': (_, { events }) =>
    events.flatMap(({ revision }, n) => (revision === n ? [] : [`${revision} is at ${n}`])),
  'the chain of hashes is whole': (_, { events }) => chainProblems(events),
  'no record is doubled': (_, { events }) => doubled(events),
  'appends are stored whole': halves,
  'all records belong to the run': (records, { runId, events }) =>
    records.flatMap((record, n) => {
      const fits = record.run_id === runId && record.kind === events[n]?.type
      return fits ? [] : [`${n} is ${record.kind} of ${record.run_id}`]
    }),
  'a run begins with run_created': (records) => {
    const places = placesOf(records, 'run_created')
    return places.length === 1 && places[0] === 0 ? [] : [`run_created at ${places}`]
  },
  'exactly one run_end, at the end': (records, { settled }) => {
    const places = placesOf(records, 'run_end')
    if (places.length === 0) return settled ? ['there is no run_end'] : []
    const after = records.slice((places[0] ?? 0) + 1)
    const isLast = after.every(({ kind }) => AFTER_THE_END.some((late) => late === kind))
    return places.length === 1 && isLast ? [] : [`run_end at ${places}`]
  },
  'run_end names the true sums': sums,
  'the records fold': (records) => {
    try {
      fold(records)
      return []
    } catch (cause) {
      return [String(cause)]
    }
  },
  'each claim is by another process': claims,
  'iterations count up, within their limit': iterations,
  'each human check is answered once, by its seq': humanChecks,
  'each message of a person is recorded once, and read before an achieved end': messages,
  'each tool call has one result': callProblems,
  'a call that changes something runs at most once': effectProblems,
  'each sub-agent is started once, and both logs name each other': subagentProblems,
  'observers see what is stored': observationProblems,
  'what was acknowledged is stored': acknowledgementProblems,
  'REST answers what is stored': detailsProblems,
}

/** All invariants that a run violates, as seen from outside. */
export function violations(evidence: Evidence): Violation[] {
  const records: RunRecord[] = []
  for (const { revision, data } of evidence.events) {
    const parsed = RunRecord.safeParse(JSON.parse(data))
    if (!parsed.success) return [{ invariant: 'every record can be read', message: `${revision}` }]
    records.push(parsed.data)
  }
  return Object.entries(INVARIANTS).flatMap(([invariant, check]) =>
    check(records, evidence).map((message) => ({ invariant, message })),
  )
}

export const INVARIANT_NAMES: readonly string[] = Object.keys(INVARIANTS)

const placesOf = (records: readonly RunRecord[], kind: RunRecord['kind']): number[] =>
  records.flatMap((record, place) => (record.kind === kind ? [place] : []))

const commandOf = (event: { readonly metadata: string } | undefined): string =>
  event === undefined ? '' : String(JSON.parse(event.metadata).command_id)

/** The records of one append are next to each other, and no event is stored twice. */
function doubled(events: Evidence['events']): string[] {
  const ids = new Set<string>()
  const commands = new Set<string>()
  const problems: string[] = []
  let last = ''
  for (const { revision, id, metadata } of events) {
    const command = commandOf({ metadata })
    if (ids.has(id)) problems.push(`${revision} has the id of an earlier record`)
    if (command !== last && commands.has(command)) {
      problems.push(`${revision} is of a command that was stored before`)
    }
    ids.add(id)
    commands.add(command)
    last = command
  }
  return problems
}

/** The kinds that one append stores together: the second by the first. */
const ALWAYS_NEXT: Readonly<Partial<Record<RunRecord['kind'], readonly RunRecord['kind'][]>>> = {
  llm_usage: [
    'assistant_message',
    'llm_retry',
    'error',
    'context_compacted',
    'run_summary',
    'run_paused',
  ],
  run_summary: ['run_end'],
  goal_check: ['iteration_complete', 'snapshot', 'final_check'],
  final_check: ['iteration_complete'],
  project_context: ['step_start', 'run_end', 'run_paused'],
  error: ['run_end'],
}

function halves(records: readonly RunRecord[], { events }: Evidence): string[] {
  return records.flatMap(({ kind, iteration }, seq) => {
    const wanted = ALWAYS_NEXT[kind]
    // After the first check, the project may have to be read.
    if (wanted === undefined || (iteration === 0 && kind.endsWith('_check'))) return []
    const [here, next] = [events[seq], events[seq + 1]].map(commandOf)
    const follower = records[seq + 1]?.kind
    const fits = follower !== undefined && wanted.includes(follower) && here === next
    return fits ? [] : [`${seq} lacks its ${wanted.join(' or ')}`]
  })
}
