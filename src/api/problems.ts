import * as z from 'zod'
import { RunRemoval } from './retention.ts'

/** What is wrong with one field of a request. `message` is a whole sentence for a person. */
export const FieldProblem = z.object({ field: z.string(), message: z.string() })
export type FieldProblem = Readonly<z.infer<typeof FieldProblem>>

/** RFC 9457. */
export const ProblemDocument = z
  .object({
    type: z.string().describe('Identifies the kind of problem: urn:retrai:problem:<code>'),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('For a person: what is wrong and what to do'),
    instance: z.string().describe('The address of the request'),
    errors: z
      .array(FieldProblem)
      .optional()
      .describe('Every problem of an invalid request, or each file in conflict'),
    removal: RunRemoval.optional().describe('The entry of the ledger about a run that was removed'),
  })
  .meta({
    id: 'Problem',
    description: 'A problem document, RFC 9457',
    examples: [
      {
        type: 'urn:retrai:problem:invalid_request',
        title: 'Invalid request',
        status: 422,
        detail: 'max_iterations must be at least 1.',
        instance: '/api/runs',
        errors: [{ field: 'max_iterations', message: 'max_iterations must be at least 1.' }],
      },
    ],
  })
export type ProblemDocument = z.infer<typeof ProblemDocument>

const PREFIX = 'urn:retrai:problem:'
const problemType = (code: ProblemCode): string => `${PREFIX}${code}`
const titleOf = (code: ProblemCode): string =>
  `${code.slice(0, 1).toUpperCase()}${code.slice(1).replaceAll('_', ' ')}`.replace('json', 'JSON')

/** The code in the type of a problem; null if the problem is not one of this API. A newer server may have more codes. */
export const codeOf = (type: string): string | null =>
  type.startsWith(PREFIX) ? type.slice(PREFIX.length) : null

/**
 * Every problem, as a client sees it: the status, and the `detail` that a problem without a more exact one has. The code
 * ends the `type` of the problem document, and is its title in words.
 */
export const CATALOGUE = {
  bad_request: [400, 'The server cannot understand the request.'],
  malformed_json: [400, 'The body is not valid JSON. Correct it and send it again.'],
  unknown_cursor: [400, 'This cursor does not belong to this log. Start again without it.'],
  unauthenticated: [401, 'This server needs a token. Send it as "Authorization: Bearer <token>".'],
  forbidden: [403, 'Your role does not permit this.'],
  foreign_host: [
    403,
    'This server answers on localhost, 127.0.0.1 and [::1] only. Use one of them in the address.',
  ],
  foreign_origin: [
    403,
    'A page of another origin cannot use this server. Open the page from this server itself.',
  ],
  not_found: [404, 'There is nothing at this address. /docs lists all addresses.'],
  starter_may_not_answer: [
    403,
    'Somebody other than the person who started the run must answer: a token with another name. You may abort the run.',
  ],
  run_not_found: [404, 'There is no such run. GET /api/runs lists all runs.'],
  record_not_found: [404, 'The run has no record with this seq yet.'],
  artifact_not_found: [404, 'No tool result of this run names this artifact.'],
  snapshot_not_found: [
    404,
    'The run has no snapshot of its project: it is of an earlier version, or no server has worked on it yet.',
  ],
  file_not_found: [404, 'The snapshot has no such file.'],
  checkpoint_not_found: [
    404,
    'There is no such checkpoint. GET /api/checkpoints lists all of them; a server writes them unless RETRAI_CHECKPOINT_SECONDS is 0.',
  ],
  token_not_found: [404, 'There is no such token. GET /api/tokens lists them.'],
  webhook_not_found: [
    404,
    'This server has no such webhook. GET /api/webhooks lists those that it has.',
  ],
  method_not_allowed: [405, 'Use one of the methods in the Allow header.'],
  not_acceptable: [406, 'The Accept header names none of the media types of this address.'],
  run_removed: [410, 'The run was removed.'],
  request_timeout: [408, 'The request did not arrive in time. Send it again.'],
  name_taken: [
    409,
    'Another token has or had this name, and each name is used only once. Choose another one.',
  ],
  admin_needed: [
    409,
    'Nobody could manage the tokens after this: at least one active token must have the role admin, and after a revocation it must be valid for another day. Create that token first.',
  ],
  redacted_meanwhile: [
    409,
    'Texts of the run were redacted while it was exported. Export it again.',
  ],
  run_exists: [409, 'There is already a run with this id.'],
  already_created: [409, 'An earlier request with this key created this run.'],
  already_sent: [409, 'An earlier request with this key sent this message.'],
  key_reused: [
    409,
    'Another request used this Idempotency-Key before. Use a new key for a new request.',
  ],
  run_ended: [409, 'The run has ended. A message to it starts a run that continues it.'],
  run_not_ended: [
    409,
    'Only a run that has ended can be continued. Send this one a message, or fork it.',
  ],
  origin_gone: [409, 'The run that it would begin from is not whole any more.'],
  not_awaiting_human: [
    409,
    'The run does not wait for a decision now. Check its status before you answer.',
  ],
  stale_decision: [409, 'The decision answers a human check that is no longer open.'],
  limit_reached: [
    409,
    'The run has reached one of its limits. Raise that with PATCH /api/runs/{run_id}/config, and the run continues.',
  ],
  other_call: [
    409,
    'A different call waits now than the one whose hash you sent. Read the run again, then decide.',
  ],
  rule_stays: [
    409,
    'Only a rule of the run can be lifted, and only by allowing a call. A rule of the server holds for every run.',
  ],
  run_at_work: [
    409,
    'That is possible only after the end of the run or, except for discard, while it waits for a person. For a sub-agent, do it with its parent.',
  ],
  no_copy: [409, 'The run does not work in a copy, or the copy is gone.'],
  folder_in_use: [409, 'Files are being carried there. Try again in a moment.'],
  in_conflict: [409, 'Files were changed since. Nothing was written.'],
  not_carried: [409, 'The files cannot be carried.'],
  seen_otherwise: [
    409,
    'The record that `seen` names is not in the log. Read the history of the run again, then decide again.',
  ],
  still_needed: [
    409,
    'The run still needs this text. Wait until it has used it, or abort the run.',
  ],
  out_of_step: [409, 'The run is in another step by now. Read the run again, then decide.'],
  too_large: [413, 'The body is larger than 1 MiB, or than 8 MiB if it starts a run. Shorten it.'],
  append_too_large: [413, 'This is more than one record can hold. Shorten it.'],
  unsupported_media_type: [
    415,
    'The body must be JSON, with the header Content-Type: application/json.',
  ],
  expectation_failed: [
    417,
    'This server does not support this Expect header. Send the request without it.',
  ],
  invalid_request: [422, 'The request has fields that are not valid.'],
  upgrade_required: [426, 'This address is for WebSockets. Connect to it with a WebSocket client.'],
  too_many_of_client: [
    429,
    'Your address has reached its limit of live connections. Close some, or connect again later.',
  ],
  too_many_connections_of_client: [
    429,
    'Your address has reached its limit of connections. Close some, or connect again later.',
  ],
  headers_too_large: [431, 'The headers are too large. Send fewer of them.'],
  keys_unusable: [500, 'This server cannot use its keys. Its log names the file that is wrong.'],
  internal: [500, 'The server failed.'],
  damaged_record: [500, 'A record of this run cannot be read.'],
  store_unavailable: [
    503,
    'The server cannot reach the event store, so nothing was done. Try again in a moment.',
  ],
  tokens_unread: [
    503,
    'The server could not read the tokens from its log, so it accepts none. Its log has the reason; try again in a moment.',
  ],
  store_failed: [503, 'The event store cannot do this.'],
  outcome_unknown: [
    503,
    'The event store did not answer in time, so this may or may not be done. Read the run before you try again.',
  ],
  too_many_sockets: [
    503,
    'This server has reached its limit of live connections. Connect again later.',
  ],
  too_many_connections: [
    503,
    'This server has reached its limit of connections. Connect again later.',
  ],
  redaction_pending: [
    503,
    'The redaction is recorded, but not everything that holds the text has removed it yet. The server keeps trying. Send the same request again to see whether it is done.',
  ],
  busy: [503, 'Others changed this run at the same time. Try again.'],
  search_unavailable: [
    503,
    'The index of words cannot be used now. The log of the server has the reason; try again in a moment.',
  ],
  not_projected: [
    503,
    'The run exists, but the server has not read it to its end yet. Try again in a moment.',
  ],
} as const satisfies Record<string, readonly [status: number, detail: string]>

export type ProblemCode = keyof typeof CATALOGUE

/** A problem before it is an answer to a request. */
export type Problem = {
  readonly code: ProblemCode
  /** One sentence or more for a person, instead of the one in the catalogue. */
  readonly detail?: string
  readonly errors?: readonly FieldProblem[]
  readonly removal?: RunRemoval
}

/** @param instance the address of the request */
export function problemDocument(
  { code, detail, errors, removal }: Problem,
  instance: string,
): ProblemDocument {
  const [status, usual] = CATALOGUE[code]
  return {
    type: problemType(code),
    title: titleOf(code),
    status,
    detail: detail ?? usual,
    instance,
    ...(errors === undefined ? {} : { errors: [...errors] }),
    ...(removal === undefined ? {} : { removal }),
  }
}
