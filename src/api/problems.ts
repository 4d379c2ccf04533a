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
export const problemType = (code: ProblemCode): string => `${PREFIX}${code}`

/** The code in the type of a problem; null if the problem is not one of this API. A newer server may have more codes. */
export const codeOf = (type: string): string | null =>
  type.startsWith(PREFIX) ? type.slice(PREFIX.length) : null

/**
 * Every problem, as a client sees it: status, title, and the `detail` that a problem without a more exact one
 * has. The code ends the `type` of the problem document.
 */
export const CATALOGUE = {
  bad_request: [400, 'Bad request', 'The server cannot understand the request.'],
  malformed_json: [
    400,
    'Malformed JSON',
    'The body is not valid JSON. Correct it and send it again.',
  ],
  unknown_cursor: [
    400,
    'Unknown cursor',
    'This cursor does not belong to this log. Start again without it.',
  ],
  unauthenticated: [
    401,
    'Token needed',
    'This server needs a token. Send it as "Authorization: Bearer <token>".',
  ],
  forbidden: [403, 'Not permitted', 'Your role does not permit this.'],
  foreign_host: [
    403,
    'Foreign host name',
    'This server answers on localhost, 127.0.0.1 and [::1] only. Use one of them in the address.',
  ],
  foreign_origin: [
    403,
    'Foreign origin',
    'A page of another origin cannot use this server. Open the page from this server itself.',
  ],
  not_found: [404, 'Not found', 'There is nothing at this address. /docs lists all addresses.'],
  starter_may_not_answer: [
    403,
    'Somebody else must decide',
    'Somebody other than the person who started the run must answer: a token with another name. You may abort the run.',
  ],
  run_not_found: [404, 'Unknown run', 'There is no such run. GET /api/runs lists all runs.'],
  record_not_found: [404, 'No such record', 'The run has no record with this seq yet.'],
  artifact_not_found: [404, 'Unknown artifact', 'No tool result of this run names this artifact.'],
  snapshot_not_found: [
    404,
    'No snapshot',
    'The run has no snapshot of its project: it is of an earlier version, or no server has worked on it yet.',
  ],
  file_not_found: [404, 'Unknown file', 'The snapshot has no such file.'],
  checkpoint_not_found: [
    404,
    'Unknown checkpoint',
    'There is no such checkpoint. GET /api/checkpoints lists all of them; a server writes them unless RETRAI_CHECKPOINT_SECONDS is 0.',
  ],
  token_not_found: [404, 'Unknown token', 'There is no such token. GET /api/tokens lists them.'],
  webhook_not_found: [
    404,
    'Unknown webhook',
    'This server has no such webhook. GET /api/webhooks lists those that it has.',
  ],
  method_not_allowed: [405, 'Method not allowed', 'Use one of the methods in the Allow header.'],
  not_acceptable: [
    406,
    'Not acceptable',
    'The Accept header names none of the media types of this address.',
  ],
  run_removed: [410, 'Run was removed', 'The run was removed.'],
  request_timeout: [408, 'Request timed out', 'The request did not arrive in time. Send it again.'],
  name_taken: [
    409,
    'Name taken',
    'Another token has or had this name, and each name is used only once. Choose another one.',
  ],
  admin_needed: [
    409,
    'Admin needed',
    'Nobody could manage the tokens after this: at least one active token must have the role admin, and after a revocation it must be valid for another day. Create that token first.',
  ],
  redacted_meanwhile: [
    409,
    'Redacted meanwhile',
    'Texts of the run were redacted while it was exported. Export it again.',
  ],
  run_exists: [409, 'Run exists', 'There is already a run with this id.'],
  already_created: [409, 'Already created', 'An earlier request with this key created this run.'],
  already_sent: [409, 'Already sent', 'An earlier request with this key sent this message.'],
  key_reused: [
    409,
    'Key already used',
    'Another request used this Idempotency-Key before. Use a new key for a new request.',
  ],
  run_ended: [409, 'Run has ended', 'The run has ended. Start a new one.'],
  run_not_ended: [
    409,
    'Run has not ended',
    'Only a run that has ended can be continued. Send this one a message, or fork it.',
  ],
  origin_gone: [409, 'Origin is gone', 'The run that it would begin from is not whole any more.'],
  not_awaiting_human: [
    409,
    'Nothing to decide',
    'The run does not wait for a decision now. Check its status before you answer.',
  ],
  stale_decision: [
    409,
    'Outdated decision',
    'The decision answers a human check that is no longer open.',
  ],
  limit_reached: [
    409,
    'Limit reached',
    'The run has reached one of its limits. Raise that with PATCH /api/runs/{run_id}/config, and the run continues.',
  ],
  other_call: [
    409,
    'Another call',
    'A different call waits now than the one whose hash you sent. Read the run again, then decide.',
  ],
  rule_stays: [
    409,
    'Rule stays',
    'Only a rule of the run can be lifted, and only by allowing a call. A rule of the server holds for every run.',
  ],
  run_at_work: [
    409,
    'Run is at work',
    'That is possible only while the run waits for a person, or after its end. For a sub-agent, do it with its parent.',
  ],
  no_copy: [409, 'No copy', 'The run does not work in a copy, or the copy is gone.'],
  folder_in_use: [409, 'Folder in use', 'Files are being carried there. Try again in a moment.'],
  in_conflict: [409, 'Conflict', 'Files were changed since. Nothing was written.'],
  not_carried: [409, 'Not possible', 'The files cannot be carried.'],
  seen_otherwise: [
    409,
    'Different record',
    'The record that `seen` names is not in the log. Read the history of the run again, then decide again.',
  ],
  still_needed: [
    409,
    'Still needed',
    'The run still needs this text. Wait until it has used it, or abort the run.',
  ],
  out_of_step: [
    409,
    'Out of step',
    'The run is in another step by now. Read the run again, then decide.',
  ],
  too_large: [
    413,
    'Too large',
    'The body is larger than 1 MiB, or than 8 MiB if it starts a run. Shorten it.',
  ],
  append_too_large: [413, 'Too large', 'This is more than one record can hold. Shorten it.'],
  unsupported_media_type: [
    415,
    'Not JSON',
    'The body must be JSON, with the header Content-Type: application/json.',
  ],
  expectation_failed: [
    417,
    'Expectation failed',
    'This server does not support this Expect header. Send the request without it.',
  ],
  invalid_request: [422, 'Invalid request', 'The request has fields that are not valid.'],
  upgrade_required: [
    426,
    'WebSocket needed',
    'This address is for WebSockets. Connect to it with a WebSocket client.',
  ],
  too_many_of_client: [
    429,
    'Too many connections',
    'Your address has reached its limit of live connections. Close some, or connect again later.',
  ],
  too_many_connections_of_client: [
    429,
    'Too many connections',
    'Your address has reached its limit of connections. Close some, or connect again later.',
  ],
  headers_too_large: [431, 'Headers too large', 'The headers are too large. Send fewer of them.'],
  keys_unusable: [
    500,
    'Keys unusable',
    'This server cannot use its keys. Its log names the file that is wrong.',
  ],
  internal: [500, 'Internal error', 'The server failed.'],
  damaged_record: [500, 'Damaged record', 'A record of this run cannot be read.'],
  store_unavailable: [
    503,
    'Store unavailable',
    'The server cannot reach the event store, so nothing was done. Try again in a moment.',
  ],
  tokens_unread: [
    503,
    'Tokens not known',
    'The server could not read the tokens from its log, so it accepts none. Its log has the reason; try again in a moment.',
  ],
  store_failed: [503, 'Store failed', 'The event store cannot do this.'],
  outcome_unknown: [
    503,
    'Outcome unknown',
    'The event store did not answer in time, so this may or may not be done. Read the run before you try again.',
  ],
  too_many_sockets: [
    503,
    'Too many connections',
    'This server has reached its limit of live connections. Connect again later.',
  ],
  too_many_connections: [
    503,
    'Too many connections',
    'This server has reached its limit of connections. Connect again later.',
  ],
  redaction_pending: [
    503,
    'Redaction not complete',
    'The redaction is recorded, but not everything that holds the text has removed it yet. The server keeps trying. Send the same request again to see whether it is done.',
  ],
  busy: [503, 'Too many writers', 'Others changed this run at the same time. Try again.'],
  search_unavailable: [
    503,
    'Search unavailable',
    'The index of words cannot be used now. The log of the server has the reason; try again in a moment.',
  ],
  not_projected: [
    503,
    'Not ready yet',
    'The run exists, but the server has not read it to its end yet. Try again in a moment.',
  ],
} as const satisfies Record<string, readonly [status: number, title: string, detail: string]>

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
  const [status, title, usual] = CATALOGUE[code]
  return {
    type: problemType(code),
    title,
    status,
    detail: detail ?? usual,
    instance,
    ...(errors === undefined ? {} : { errors: [...errors] }),
    ...(removal === undefined ? {} : { removal }),
  }
}
