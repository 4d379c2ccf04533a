import { isDeepStrictEqual } from 'node:util'
import { fold } from '../../src/domain/evolve.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { runDetails } from '../../src/queries/run-details.ts'
import type { Acknowledged, Evidence } from './evidence.ts'

/** Each observer got every record after its cursor, once, in order, and as it is stored. */
export function observationProblems(
  records: readonly RunRecord[],
  { observations }: Evidence,
): string[] {
  return observations.flatMap(({ after, frames, complete }) => {
    const wrong = frames.flatMap((frame, n) => frameProblems(records, after + 1 + n, frame))
    const end = after + frames.length
    if (complete && end < records.length - 1) wrong.push(`an observer was disconnected at ${end}`)
    return wrong
  })
}

function frameProblems(records: readonly RunRecord[], seq: number, frame: string): string[] {
  const stored = records[seq]
  if (stored === undefined) return [`${seq} was observed and is not stored`]
  const same = isDeepStrictEqual(JSON.parse(frame), { ...stored, seq })
  return same ? [] : [`${seq} is not what an observer saw: ${frame}`]
}

/** All that a server acknowledged is in the log, and only one of two answers to a check was accepted. */
export function acknowledgementProblems(
  records: readonly RunRecord[],
  { acknowledged }: Evidence,
): string[] {
  const answered = new Set<number>()
  return acknowledged.flatMap((promise) => {
    if (promise.type === 'resumed' || promise.type === 'allowed') {
      if (answered.has(promise.seq))
        return [`${promise.seq} was answered twice, with 200 each time`]
      answered.add(promise.seq)
    }
    return isKept(records, promise) ? [] : [`${JSON.stringify(promise)} is not in the log`]
  })
}

const isKept = (records: readonly RunRecord[], promise: Acknowledged): boolean =>
  records.some((record) => keeps(record, promise))

function keeps({ kind, payload }: RunRecord, promise: Acknowledged): boolean {
  switch (promise.type) {
    case 'created':
      return kind === 'run_created'
    case 'resumed': {
      const { seq, decision } = promise
      if (kind !== 'human_check_response') return false
      return payload.answers === seq && payload.decision === decision
    }
    case 'allowed':
      return kind === 'approval_response' && payload.answers === promise.seq
    case 'said':
      return kind === 'user_message' && payload.idempotency?.key === promise.key
    case 'aborted':
      return kind === 'run_end' && payload.status === 'aborted'
    case 'configured':
      return kind === 'run_config_changed' && isDeepStrictEqual(payload.changes, promise.changes)
  }
}

/** GET /api/runs/{run_id} answers what the stored records fold to. */
export function detailsProblems(records: readonly RunRecord[], { details }: Evidence): string[] {
  const state = foldOrNull(records)
  if (state === null) return []
  const folded = runDetails(state)
  return details.flatMap((answer) =>
    isDeepStrictEqual(answer, folded) ? [] : [`it answers ${JSON.stringify(answer)}`],
  )
}

function foldOrNull(records: readonly RunRecord[]) {
  try {
    return fold(records)
  } catch {
    return null
  }
}
