/**
 * Everything that can go wrong, as a client sees it. The code ends the `type` of the problem document;
 * `detail` is for where there is nothing more to say, and says what to do.
 */
export const CATALOGUE = {
  bad_request: [400, 'Bad request', 'The request cannot be understood.'],
  malformed_json: [
    400,
    'Malformed JSON',
    'The body is not valid JSON. Correct it and send it again.',
  ],
  unknown_cursor: [400, 'Unknown cursor', 'The cursor is none of this log. Begin anew without it.'],
  unauthenticated: [
    401,
    'Token needed',
    'This server asks for a token. Send it as "Authorization: Bearer <token>".',
  ],
  forbidden: [403, 'Role may not', 'Your role may not do this.'],
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
  not_found: [404, 'Not found', 'There is nothing at this address. /docs shows what there is.'],
  run_not_found: [
    404,
    'Unknown run',
    'There is no such run. GET /api/runs lists the runs there are.',
  ],
  record_not_found: [404, 'No such record', 'The run has no record with this seq yet.'],
  artifact_not_found: [404, 'Unknown artifact', 'No tool result of this run names this artifact.'],
  checkpoint_not_found: [
    404,
    'Unknown checkpoint',
    'There is no such checkpoint. GET /api/checkpoints lists those there are; a server writes them if RETRAI_CHECKPOINT_SECONDS is set.',
  ],
  token_not_found: [404, 'Unknown token', 'There is no such token. GET /api/tokens lists them.'],
  method_not_allowed: [405, 'Method not allowed', 'The Allow header names the methods there are.'],
  not_acceptable: [
    406,
    'Not acceptable',
    'This address answers none of the media types that the Accept header names.',
  ],
  request_timeout: [408, 'Request timed out', 'The request did not arrive in time. Send it again.'],
  name_taken: [
    409,
    'Name taken',
    'There is or was a token of this name, and names are given once. Choose another one.',
  ],
  admin_needed: [
    409,
    'Admin needed',
    'Nobody could manage the tokens any more: at least one active token must have the role admin, and after a revocation be good for another day. Make that one first.',
  ],
  redacted_meanwhile: [
    409,
    'Redacted meanwhile',
    'Texts were redacted from the run while it was exported, again and again. Export it once more.',
  ],
  run_exists: [409, 'Run exists', 'There is a run with this id already.'],
  already_created: [409, 'Created before', 'The same request has created this run before.'],
  key_reused: [
    409,
    'Key used before',
    'This Idempotency-Key came with another request before. Use a new key for a new request.',
  ],
  run_ended: [409, 'Run has ended', 'The run has ended. Start a new one.'],
  not_awaiting_human: [
    409,
    'Nothing to decide',
    'The run waits for no decision now. Look at its status before you answer.',
  ],
  stale_decision: [
    409,
    'Outdated decision',
    'The decision answers a human check that is no longer open.',
  ],
  seen_otherwise: [
    409,
    'Something else was seen',
    'The run has no such record there as `seen` names. Read its history again, then decide anew.',
  ],
  still_needed: [
    409,
    'Still needed',
    'The run has yet to work with this. Wait until it has, or abort it.',
  ],
  out_of_step: [409, 'Out of step', 'The run is doing something else by now. Read it again.'],
  too_large: [413, 'Too large', 'The body is larger than 1 MiB. Shorten it.'],
  append_too_large: [413, 'Too large', 'This is more than one record can hold. Shorten it.'],
  unsupported_media_type: [
    415,
    'Not JSON',
    'The body must be JSON and say so: Content-Type: application/json.',
  ],
  expectation_failed: [
    417,
    'Expectation failed',
    'The Expect header asks for what this server does not do. Send the request without it.',
  ],
  invalid_request: [422, 'Invalid request', 'The request has fields that are not valid.'],
  upgrade_required: [
    426,
    'WebSocket needed',
    'This address speaks WebSocket. Connect to it with a WebSocket client.',
  ],
  too_many_of_client: [
    429,
    'Too many connections',
    'Your address has as many live connections open as it may have. Close some, or connect again later.',
  ],
  too_many_connections_of_client: [
    429,
    'Too many connections',
    'Your address has as many connections open as it may have. Close some, or connect again later.',
  ],
  too_many_tickets: [
    429,
    'Too many tickets',
    'As many tickets wait to be used as there may be. Use them, or try again in some seconds.',
  ],
  headers_too_large: [431, 'Headers too large', 'The headers are too large. Send fewer of them.'],
  keys_unusable: [
    500,
    'Keys unusable',
    'The keys of this server cannot be used. Its log says which file is at fault.',
  ],
  internal: [500, 'Internal error', 'The server failed.'],
  damaged_record: [500, 'Damaged record', 'A record of this run cannot be read.'],
  store_unavailable: [
    503,
    'Store unavailable',
    'The event store cannot be reached, so nothing was done. Try again in a moment.',
  ],
  tokens_unread: [
    503,
    'Tokens not known',
    'The server could not read from its log which tokens there are, so it lets nobody in by one. Its log says why; try again in a moment.',
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
    'As many live connections are open as this server may have. Connect again later.',
  ],
  too_many_connections: [
    503,
    'Too many connections',
    'As many connections are open as this server may have. Connect again later.',
  ],
  stuck: [
    503,
    'Server stuck',
    'The server does not turn: its log shows where it is stuck. Restart it; its runs continue.',
  ],
  redaction_pending: [
    503,
    'Redaction under way',
    'The redaction is recorded, but not everything could forget the text yet; the server goes on trying. Send the same request again to see whether it is done.',
  ],
  busy: [503, 'Too many writers', 'Others kept changing this run meanwhile. Try again.'],
  not_projected: [
    503,
    'Not ready yet',
    'The run exists, but the server has not read it to its end yet. Try again in a moment.',
  ],
} as const satisfies Record<string, readonly [status: number, title: string, detail: string]>

export type ProblemCode = keyof typeof CATALOGUE
