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
 * Every problem, as a client sees it, by its status: the `detail` that a problem without a more exact one has. The code
 * ends the `type` of the problem document, and is its title in words.
 */
const BY_STATUS = {
  400: {
    bad_request: 'The server cannot understand the request.',
    malformed_json: 'The body is not valid JSON. Correct it and send it again.',
    unknown_cursor: 'This cursor does not belong to this log. Start again without it.',
  },
  401: {
    unauthenticated: 'This server needs a token. Send it as "Authorization: Bearer <token>".',
  },
  403: {
    forbidden: 'Your role does not permit this.',
    foreign_host:
      'This server answers on localhost, 127.0.0.1 and [::1] only. Use one of them in the address.',
    foreign_origin:
      'A page of another origin cannot use this server. Open the page from this server itself.',
    starter_may_not_answer:
      'Somebody other than the person who started the run must answer: a token with another name. You may abort the run.',
  },
  404: {
    not_found: 'There is nothing at this address. /docs lists all addresses.',
    run_not_found: 'There is no such run. GET /api/runs lists all runs.',
    record_not_found: 'The run has no record with this seq yet.',
    artifact_not_found: 'No tool result of this run names this artifact.',
    snapshot_not_found:
      'The run has no snapshot of its project: it is of an earlier version, or no server has worked on it yet.',
    file_not_found: 'The snapshot has no such file.',
    checkpoint_not_found:
      'There is no such checkpoint. GET /api/checkpoints lists all of them; a server writes them unless RETRAI_CHECKPOINT_SECONDS is 0.',
    token_not_found: 'There is no such token. GET /api/tokens lists them.',
    webhook_not_found:
      'This server has no such webhook. GET /api/webhooks lists those that it has.',
  },
  405: { method_not_allowed: 'Use one of the methods in the Allow header.' },
  406: { not_acceptable: 'The Accept header names none of the media types of this address.' },
  408: { request_timeout: 'The request did not arrive in time. Send it again.' },
  409: {
    name_taken:
      'Another token has or had this name, and each name is used only once. Choose another one.',
    admin_needed:
      'Nobody could manage the tokens after this: at least one active token must have the role admin, and after a revocation it must be valid for another day. Create that token first.',
    redacted_meanwhile: 'Texts of the run were redacted while it was exported. Export it again.',
    run_exists: 'There is already a run with this id.',
    already_created: 'An earlier request with this key created this run.',
    already_sent: 'An earlier request with this key sent this message.',
    key_reused:
      'Another request used this Idempotency-Key before. Use a new key for a new request.',
    run_ended: 'The run has ended. A message to it starts a run that continues it.',
    run_not_ended:
      'Only a run that has ended can be continued. Send this one a message, or fork it.',
    origin_gone: 'The run that it would begin from is not whole any more.',
    not_awaiting_human:
      'The run does not wait for a decision now. Check its status before you answer.',
    stale_decision: 'The decision answers a human check that is no longer open.',
    limit_reached:
      'The run has reached one of its limits. Raise that with PATCH /api/runs/{run_id}/config, and the run continues.',
    other_call:
      'A different call waits now than the one whose hash you sent. Read the run again, then decide.',
    rule_stays:
      'Only a rule of the run can be lifted, and only by allowing a call. A rule of the server holds for every run.',
    run_at_work:
      'That is possible only after the end of the run or, except for discard, while it waits for a person. For a sub-agent, do it with its parent.',
    no_copy: 'The run does not work in a copy, or the copy is gone.',
    folder_in_use: 'Files are being carried there. Try again in a moment.',
    in_conflict: 'Files were changed since. Nothing was written.',
    not_carried: 'The files cannot be carried.',
    seen_otherwise:
      'The record that `seen` names is not in the log. Read the history of the run again, then decide again.',
    still_needed: 'The run still needs this text. Wait until it has used it, or abort the run.',
    out_of_step: 'The run is in another step by now. Read the run again, then decide.',
  },
  410: { run_removed: 'The run was removed.' },
  413: {
    too_large: 'The body is larger than 1 MiB, or than 8 MiB if it starts a run. Shorten it.',
    append_too_large: 'This is more than one record can hold. Shorten it.',
  },
  415: {
    unsupported_media_type:
      'The body must be JSON, with the header Content-Type: application/json.',
  },
  417: {
    expectation_failed:
      'This server does not support this Expect header. Send the request without it.',
  },
  422: { invalid_request: 'The request has fields that are not valid.' },
  426: {
    upgrade_required: 'This address is for WebSockets. Connect to it with a WebSocket client.',
  },
  429: {
    too_many_of_client:
      'Your address has reached its limit of live connections. Close some, or connect again later.',
    too_many_connections_of_client:
      'Your address has reached its limit of connections. Close some, or connect again later.',
  },
  431: { headers_too_large: 'The headers are too large. Send fewer of them.' },
  500: {
    keys_unusable: 'This server cannot use its keys. Its log names the file that is wrong.',
    internal: 'The server failed.',
    damaged_record: 'A record of this run cannot be read.',
  },
  503: {
    store_unavailable:
      'The server cannot reach the event store, so nothing was done. Try again in a moment.',
    tokens_unread:
      'The server could not read the tokens from its log, so it accepts none. Its log has the reason; try again in a moment.',
    store_failed: 'The event store cannot do this.',
    outcome_unknown:
      'The event store did not answer in time, so this may or may not be done. Read the run before you try again.',
    too_many_sockets: 'This server has reached its limit of live connections. Connect again later.',
    too_many_connections: 'This server has reached its limit of connections. Connect again later.',
    redaction_pending:
      'The redaction is recorded, but not everything that holds the text has removed it yet. The server keeps trying. Send the same request again to see whether it is done.',
    busy: 'Others changed this run at the same time. Try again.',
    search_unavailable:
      'The index of words cannot be used now. The log of the server has the reason; try again in a moment.',
    not_projected:
      'The run exists, but the server has not read it to its end yet. Try again in a moment.',
  },
} as const

type ByStatus = typeof BY_STATUS
export type ProblemCode = { [Status in keyof ByStatus]: keyof ByStatus[Status] }[keyof ByStatus]

type Usual = readonly [status: number, detail: string]

/** The status and the usual `detail` of each problem. */
export const CATALOGUE = /* @__PURE__ */ byCode()

function byCode(): Readonly<Record<ProblemCode, Usual>> {
  const all = Object.entries(BY_STATUS).flatMap(([status, details]) =>
    Object.entries(details).map(([code, detail]) => [code, [Number(status), detail]]),
  )
  return Object.fromEntries(all)
}

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
