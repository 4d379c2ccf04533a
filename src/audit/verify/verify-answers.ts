import { mayBeSame } from '../../domain/free-text.ts'
import { isWaiting } from '../../domain/state.ts'
import type { LoggedRecord } from '../../log/codec.ts'
import { hashOfCall } from '../../log/commitment.ts'
import type { LoadedRun } from '../../log/run-log.ts'

/** A run as far as it is verified. */
export type VerifiedRun = LoadedRun & {
  /** Who started it; null if nobody is named. */
  readonly starter: string | null
  /** The hash of the open question; null if the run asks nothing. */
  readonly question: string | null
}

/** @param before null before the first record */
export function verifiedRun(
  before: VerifiedRun | null,
  { state, head }: LoadedRun,
  { meta }: LoggedRecord,
): VerifiedRun {
  const starter = before === null ? (meta.principal ?? null) : before.starter
  const question = isWaiting(state) ? (before?.question ?? head) : null
  return { state, head, starter, question }
}

/** Why no server can have recorded this question or answer, beyond what the fold says; null if it can. */
export function answersProblem(run: VerifiedRun, { record, meta }: LoggedRecord): string | null {
  switch (record.kind) {
    case 'approval_required':
      return callProblem(run, record.payload.call_sha256)
    case 'human_check_response':
      return shownProblem(run, record.payload.shown_sha256)
    case 'approval_response':
      return shownProblem(run, record.payload.shown_sha256) ?? answererProblem(run, meta.principal)
    default:
      return null
  }
}

/** A person allows or denies a call by its hash. After a redaction of the call, nothing can be compared. */
function callProblem({ state: { phase } }: LoadedRun, named: string): string | null {
  const [call] = phase.type === 'acting' ? phase.pending : []
  if (call === undefined) return 'it asks about no call'
  const actual = hashOfCall(call)
  if (mayBeSame(named, actual) || isRedacted(call)) return null
  return `it names the hash ${named} of the call, and the call has ${actual}`
}

const isRedacted = (call: object): boolean => JSON.stringify(call).includes('[redacted]')

/** Records of earlier versions do not name the hash. */
function shownProblem({ question }: VerifiedRun, shown: string | undefined): string | null {
  if (shown === undefined || shown === question) return null
  return `it names the hash ${shown} of the question, and the question has ${question}`
}

function answererProblem(
  { state: { phase }, starter }: VerifiedRun,
  principal: string | undefined,
): string | null {
  const by = phase.type === 'awaiting_approval' ? phase.content.by : undefined
  if (by !== 'other_than_starter') return null
  if (principal !== undefined && principal !== starter) return null
  return 'the rule asks for somebody else than who started the run, and who answered did that'
}
