import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { okAsync, ResultAsync } from 'neverthrow'
import type * as z from 'zod'
import type { CreateRun } from '../api/create-run.ts'
import type { FieldProblem, Problem } from '../api/problems.ts'
import type { Acceptance } from '../domain/acceptance.ts'
import { present } from '../domain/present.ts'
import type { RunConfig } from '../domain/run-config.ts'
import type { RunState } from '../domain/state.ts'
import { messageOf } from '../lib/message-of.ts'
import { acceptanceArtifact, readAcceptance } from '../log/acceptance.ts'
import { canonicalText } from '../log/commitment.ts'
import { processMask } from '../masking/process-mask.ts'
import type { AppDeps } from './deps.ts'
import { callerOf } from './plugins/security.ts'
import { type Refusal, unreachable } from './problems/problem-of.ts'

type Requested = Pick<z.output<typeof CreateRun>, 'accept' | 'accept_feedback'>
type Places = Pick<AppDeps, 'artifacts'>

const SALT_BYTES = 16

/**
 * What is wrong with the hidden check of a request. Messages quote nothing of it but paths.
 * @param hasOne whether the run has one without naming it
 */
export function acceptanceProblems(
  { accept, accept_feedback }: Requested,
  hasOne: boolean,
): FieldProblem[] {
  if (accept === undefined) {
    if (hasOne) return []
    const message =
      'accept_feedback needs accept, the check that the agent learns of. Add it, or leave both out.'
    return accept_feedback ? [{ field: 'accept_feedback', message }] : []
  }
  const { files, command } = accept
  const texts = [
    ...Object.entries(files).map(([path, content]) => [`files.${path}`, `${path}\n${content}`]),
    ['command', command],
  ] as const
  return texts.flatMap(([name = '', text = '']) => {
    if (processMask.text(text) === text) return []
    const field = processMask.text(`accept.${name}`)
    const message = `${field} contains a secret, or what looks like one, and everybody can read it when the run has ended. Let the check put it together from parts.`
    return [{ field, message }]
  })
}

/** Keeps a hidden check as an artifact. @returns what the log says of it */
export function keepAcceptance(
  { accept, accept_feedback }: Requested,
  { artifacts }: Places,
): ResultAsync<Pick<RunConfig, 'accept'>, Problem> {
  if (accept === undefined) return okAsync({})
  const salt = randomBytes(SALT_BYTES).toString('hex')
  const kept = ResultAsync.fromPromise(
    artifacts.put(acceptanceArtifact(accept, salt)),
    (cause): Problem => {
      const detail = `The check in accept cannot be kept now: ${messageOf(cause)}. Nothing was done; try again later.`
      return { code: 'store_unavailable', detail }
    },
  )
  const files = Object.keys(accept.files).length
  const feedback = accept_feedback || null
  return kept.map((sha256) => ({ accept: { sha256, files, ...present({ feedback }) } }))
}

/**
 * Whether a run was created with this hidden check. The hash of its request does not cover that, because it would let
 * everybody who reads the log try what the check may be. After a redaction, every check counts as the same.
 */
export function hasAcceptance(
  { config, origin }: RunState,
  accept: Acceptance | undefined,
  { artifacts }: Places,
): ResultAsync<boolean, Refusal> {
  const { accept: had } = config
  // It may be that of the run from which this one begins.
  if (accept === undefined && origin !== undefined) return okAsync(true)
  if (accept === undefined || had === undefined) return okAsync(accept === had)
  const reading = artifacts.read(had.sha256).then((found) => found && buffer(found.stream))
  return ResultAsync.fromPromise(reading, unreachable).map((content) => {
    const known = content && readAcceptance(content, had.sha256).unwrapOr(null)
    return known === null || canonicalText(known) === canonicalText(accept)
  })
}

/** Why a caller may not read an artifact: a hidden check is for admins until its run has ended. Null if it may. */
export function hiddenFrom(
  request: Parameters<typeof callerOf>[0],
  { config, phase }: RunState,
  sha256: string,
): Problem | null {
  const { role } = callerOf(request)
  if (sha256 !== config.accept?.sha256 || phase.type === 'ended' || role === 'admin') return null
  const detail = `This is the check that the agent does not see. Until the run has ended, only the role admin may read it, and yours is ${role}.`
  return { code: 'forbidden', detail }
}
