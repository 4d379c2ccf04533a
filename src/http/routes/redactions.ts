import { err, ok } from 'neverthrow'
import * as z from 'zod'
import type { Problem } from '../../api/problems.ts'
import { RedactedRecord, Redaction, RedactRun } from '../../api/redactions.ts'
import { RunParams } from '../../api/run-requests.ts'
import type { LoggedRedaction } from '../../redaction/redaction-index.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import {
  COMMAND_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { redactProblem } from '../problems/problem-of.ts'
import { authorOf } from './commands.ts'

export const redactions = [redactRun, listRedactions]

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

/** POST /api/runs/{run_id}/redact */
function redactRun(app: ZodApp, { redactions }: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/redact',
    config: { needs: 'runs:redact' },
    schema: {
      operationId: 'redactRun',
      tags: ['runs'],
      summary: 'Redact a secret or personal data of a record',
      description: REDACT,
      params: RunParams,
      body: RedactRun,
      response: {
        200: described('The texts are redacted', RedactedRecord),
        ...problems(
          'invalid_request',
          'run_not_found',
          'record_not_found',
          'still_needed',
          'redaction_pending',
          ...COMMAND_PROBLEMS,
        ),
      },
    },
    handler: async (request, reply) => {
      const { runId, body } = request
      const { preview: isPreview = false } = body
      const wanted = { ...body, isPreview, runId, pointer: fromPayload(body.pointer) }
      const redacted = redactions
        .redact(wanted, authorOf(request))
        .mapErr(redactProblem)
        .andThen(({ carriedOut: { hidden, erased }, ...redacted }) =>
          hidden
            ? ok({ run_id: runId, seq: body.seq, erased, ...redacted })
            : err<never, Problem>({ code: 'redaction_pending' }),
        )
      return sendResult(request, reply, redacted)
    },
  })
}

/** GET /api/runs/{run_id}/redactions */
function listRedactions(app: ZodApp, { redactions, readModel }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/redactions',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'listRedactions',
      tags: ['runs'],
      summary: 'What was redacted from a run, by whom and why',
      params: RunParams,
      response: {
        200: described('All redactions of the run, oldest first', z.array(Redaction)),
        ...problems('run_not_found'),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      if (readModel.get(runId) === null) {
        return sendProblem(request, reply, { code: 'run_not_found' })
      }
      return redactions.ofRun(runId).map(redactionOf)
    },
  })
}

/** No payload has a field of that name, so it can only mean the frame. */
const fromPayload = (pointer: string): string => pointer.replace(/^\/payload(?=\/|$)/, '')

/** If the run was imported, time and person are those of the log that it comes from. */
function redactionOf({ seq: redaction, record, meta }: LoggedRedaction): Redaction {
  const { seq, reason, redacted, artifact = null, origin } = record.payload
  const { ts, principal = null } = origin ?? { ts: record.ts, principal: meta.principal }
  return { redaction, ts, principal, reason, seq, pointers: Object.keys(redacted), artifact }
}
