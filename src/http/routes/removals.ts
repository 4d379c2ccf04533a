import type { FastifyInstance } from 'fastify'
import { err, ok } from 'neverthrow'
import * as z from 'zod'
import { RedactedRecord, Redaction, RedactRun } from '../../api/redactions.ts'
import {
  HeldRun,
  HoldRun,
  ReleaseRun,
  RetainedRun,
  RetainRuns,
  RunHold,
} from '../../api/retention.ts'
import type { LoggedRedaction } from '../../redaction/redaction-index.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import type { Refusal } from '../problems/problem-of.ts'
import { authorOf } from './commands.ts'

const REDACT = `
Redacts texts of a record: in everything that the server serves, in what it derived from them, and, if the store can
erase, on the disk. Each is replaced with \`[redacted]\`. The hashes stay, so earlier proofs and exports remain valid. Who
redacted what, when and why is an entry of a ledger of its own, which exports and verification name.

Only free texts can be redacted: arguments and outputs of tools, what the model and people wrote, reasons, errors,
prompts. Names, ids, kinds and numbers cannot. With the output of a tool, its artifact is removed. Summaries that come
after the record may hold its text in other words, so they are redacted with it; an agent at work writes a new summary. The answer names
the other places of the run that hold the same text; the server changes nothing there. A client can safely send the
request again.
`

/** The redactions of a run. */
export function redactions(app: FastifyInstance, { redactions, readModel }: AppDeps): void {
  operation(app, 'POST /api/runs/:run_id/redact', {
    needs: 'runs:redact',
    id: 'redactRun',
    tag: 'runs',
    summary: 'Redact a secret or personal data of a record',
    description: REDACT,
    body: RedactRun,
    answers: { 200: described('The texts are redacted', RedactedRecord) },
    handle: (request) => {
      const { runId, body } = request
      const { preview: isPreview = false } = body
      return redactions
        .redact({ ...body, isPreview, runId }, authorOf(request))
        .andThen(({ carriedOut: { hidden, erased }, ...redacted }) =>
          hidden
            ? ok({ run_id: runId, seq: body.seq, erased, ...redacted })
            : err<never, Refusal>({ code: 'redaction_pending' }),
        )
    },
  })
  operation(app, 'GET /api/runs/:run_id/redactions', {
    needs: 'runs:verify',
    id: 'listRedactions',
    tag: 'runs',
    summary: 'What was redacted from a run, by whom and why',
    answers: { 200: described('All redactions of the run, oldest first', z.array(Redaction)) },
    handle: ({ runId }) =>
      readModel.get(runId) === null
        ? err({ code: 'run_not_found' })
        : redactions.ofRun(runId).map(redactionOf),
  })
}

/** If the run was imported, time and person are those of the log that it comes from. */
function redactionOf({ seq: redaction, record, meta }: LoggedRedaction): Redaction {
  const { seq, reason, redacted, artifact = null, origin } = record.payload
  const { ts, principal = null } = origin ?? { ts: record.ts, principal: meta.principal }
  return { redaction, ts, principal, reason, seq, pointers: Object.keys(redacted), artifact }
}

/** Runs are held and released, and removed by rules. */
export function retention(app: FastifyInstance, { retention, readModel }: AppDeps): void {
  const held = (run_id: string) => {
    const hold = retention.holdOf(run_id)
    return { run_id, hold: hold === undefined ? null : RunHold.parse(hold) }
  }
  const onHold = {
    needs: 'runs:retain',
    tag: 'runs',
    answers: { 200: described('The run, and the hold on it', HeldRun) },
  } as const
  operation(app, 'PUT /api/runs/:run_id/hold', {
    ...onHold,
    id: 'holdRun',
    summary: 'Put a run on hold: no rule removes it',
    description:
      'It covers its sub-agents, and the run whose agent has started it, because they go or stay together. The hold ' +
      'is an entry of the ledger `retention`. Sent again, it changes nothing.',
    body: HoldRun,
    handle: (request) => {
      const { runId, body } = request
      if (readModel.get(runId) === null) return err({ code: 'run_not_found' })
      return retention.hold(runId, body.reason, authorOf(request)).map(() => held(runId))
    },
  })
  operation(app, 'DELETE /api/runs/:run_id/hold', {
    ...onHold,
    id: 'releaseRun',
    summary: 'End the hold on a run',
    body: ReleaseRun,
    handle: (request) => {
      const { runId, body } = request
      if (readModel.get(runId) === null) return err({ code: 'run_not_found' })
      const released = retention.release(runId, body.reason ?? null, authorOf(request))
      return released.map(() => held(runId))
    },
  })
  operation(app, 'POST /api/retention', {
    needs: 'runs:retain',
    id: 'retainRuns',
    tag: 'runs',
    summary: 'Remove the runs that rules do not keep, or list them',
    description:
      'Only runs that have ended match, and none with a copy that is not applied. A run goes or stays with its ' +
      'sub-agents. Each removed run is an entry of the ledger `retention`, which is made before the run disappears. ' +
      'It can be sent again after an interruption.',
    body: RetainRuns,
    answers: {
      200: described('The runs that the rules do not keep, newest first', z.array(RetainedRun)),
    },
    handle: (request) => retention.retain(request.body, authorOf(request)),
  })
}
