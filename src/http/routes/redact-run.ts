import { randomUUID } from 'node:crypto'
import * as z from 'zod'
import { SeqInBody } from '../../api/event-query.ts'
import { RunParams } from '../../api/run-id.ts'
import type { RedactError, Redacted } from '../../redaction/redact-run.ts'
import type { LoggedRedaction } from '../../redaction/redaction-ledger.ts'
import type { AppDeps } from '../deps.ts'
import { commandProblem } from '../problems/command-problem.ts'
import { COMMAND_PROBLEMS, type Problem, problems, sendProblem } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'

const Pointer = z.string().regex(/^(\/|$)/, 'must be a JSON pointer, such as /output')

const Redact = z
  .strictObject({
    seq: SeqInBody.describe('The record'),
    pointer: Pointer.describe(
      'RFC 6901, from the payload of the record (or from its frame: /payload/…): a text, or an object or array all of whose texts are meant',
    ),
    reason: z.string().trim().min(1).max(2000).describe('Kept for ever: without the text itself'),
    secret: z
      .string()
      .min(4)
      .nullable()
      .default(null)
      .describe(
        'Where the secret is only a part of the text: what is looked for elsewhere. It is not kept',
      ),
  })
  .meta({
    examples: [{ seq: 7, pointer: '/args/command', reason: 'A password of a person' }],
  })

const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'

const Done = z
  .object({
    run_id: z.uuid(),
    seq: z.int(),
    redaction: z.int().describe('Number of the entry in the log of redactions'),
    pointers: z.array(z.string()).readonly().describe('The texts that are gone'),
    artifact: z.string().nullable().describe('SHA-256 of the whole output that went with them'),
    erased: z
      .boolean()
      .describe(
        'Whether the store itself has it no more. False where it cannot forget (EventStoreDB) or could not yet; nothing serves it any more in any case',
      ),
    elsewhere: z
      .array(
        z.object({
          seq: z.int(),
          pointer: z.string(),
          redactable: z.boolean().describe('False for what the log needs'),
        }),
      )
      .readonly()
      .describe(
        'Where else in this run one of the texts, or the secret, stands, alone or within another text',
      ),
  })
  .meta({
    examples: [
      {
        run_id: RUN_ID,
        seq: 7,
        redaction: 0,
        pointers: ['/args/command'],
        artifact: null,
        erased: true,
        elsewhere: [{ seq: 5, pointer: '/tool_calls/0/args/command', redactable: true }],
      },
    ],
  })

const RedactionView = z.object({
  redaction: z.int(),
  ts: z.number().describe('Seconds since the epoch'),
  principal: z.string().nullable(),
  reason: z.string(),
  seq: z.int().describe('The record'),
  pointers: z.array(z.string()),
  artifact: z.string().nullable(),
})

const RedactionViews = z.array(RedactionView).meta({
  examples: [
    [
      {
        redaction: 0,
        ts: 1771416193.25,
        principal: 'alice',
        reason: 'A password of a person',
        seq: 7,
        pointers: ['/args/command'],
        artifact: null,
      },
    ],
  ],
})

const DESCRIPTION = `
Takes texts out of a record: from all that is served, from what was derived of it, and, where the store can
forget, from the disk. In their place stands \`[redacted]\`. The hashes stay, so proofs and exports made
before still fit; who did it, when and why is an entry of its own log, which exports and verification name.

Only texts that are there to be read can be taken out: arguments and outputs of tools, what the model and
people said, reasons, errors, prompts. Names, ids, kinds and numbers cannot. With the output of a tool goes
its artifact. The answer names where else in the run the same text stands; nothing is done there. To make
the request again is safe.
`

/** POST /api/runs/{run_id}/redact and GET /api/runs/{run_id}/redactions */
export function redactRun(app: ZodApp, deps: AppDeps): void {
  const { redactions, readModel } = deps
  if (redactions === undefined) return
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/redact',
    config: { needs: 'runs:redact' },
    schema: {
      operationId: 'redactRun',
      tags: ['runs'],
      summary: 'Take a secret or a personal datum out of a record',
      description: DESCRIPTION,
      params: RunParams,
      body: Redact,
      response: {
        200: Done,
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
      const { runId } = request
      const { seq, reason, secret } = request.body
      const pointer = fromPayload(request.body.pointer)
      const author = { commandId: randomUUID(), principal: request.principal }
      const done = await redactions.redact({ runId: runId, seq, pointer, reason, secret }, author)
      if (done.isErr()) return sendProblem(request, reply, problemOf(done.error))
      if (!done.value.carriedOut.hidden) {
        return sendProblem(request, reply, { code: 'redaction_pending' })
      }
      return viewOf(runId, seq, done.value)
    },
  })
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/redactions',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'listRedactions',
      tags: ['runs'],
      summary: 'What was taken out of a run, by whom and why',
      params: RunParams,
      response: { 200: RedactionViews, ...problems('run_not_found') },
    },
    handler: async (request, reply) => {
      const { runId } = request
      if (readModel.get(runId) === null) {
        return sendProblem(request, reply, { code: 'run_not_found' })
      }
      return redactions.ofRun(runId).map(entryView)
    },
  })
}

/** No payload has a field of that name, so it cannot be meant otherwise. */
const fromPayload = (pointer: string): string => pointer.replace(/^\/payload(?=\/|$)/, '')

function viewOf(
  run_id: string,
  seq: number,
  { redaction, pointers, artifact, elsewhere, carriedOut: { erased } }: Redacted,
) {
  return { run_id, seq, redaction, pointers, artifact, erased, elsewhere }
}

/** Of a run that was imported: when and by whom it was done where the run comes from. */
function entryView({ seq: redaction, record, meta }: LoggedRedaction) {
  const { seq, reason, redacted, artifact = null, origin } = record.payload
  const { ts, principal = null } = origin ?? { ts: record.ts, principal: meta.principal }
  return { redaction, ts, principal, reason, seq, pointers: Object.keys(redacted), artifact }
}

function problemOf(error: RedactError): Problem {
  switch (error.type) {
    case 'record_not_found':
      return { code: 'record_not_found' }
    case 'still_needed':
      return { code: 'still_needed', detail: error.message }
    case 'not_redactable':
      return invalid('pointer', error.message)
    case 'reason_tells':
      return invalid('reason', error.message)
    default:
      return commandProblem(error)
  }
}

const invalid = (field: string, message: string): Problem => {
  return { code: 'invalid_request', detail: message, errors: [{ field, message }] }
}
