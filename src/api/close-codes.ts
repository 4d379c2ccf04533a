/** Why the server closes a WebSocket. Codes from 4000 on are the application's own. */
export const CLOSE_CODES = {
  run_ended: 1000,
  going_away: 1001,
  internal_error: 1011,
  try_again_later: 1013,
  bad_request: 4400,
  unauthenticated: 4401,
  unknown_run: 4404,
} as const

/** What each code means, for the description of the API. */
export const CLOSE_MEANINGS: Readonly<Record<keyof typeof CLOSE_CODES, string>> = {
  run_ended: 'The run has ended',
  going_away:
    'The server stops, or starts again because the event store came back with another log; then the close frame ' +
    'names that reason. Connect again later',
  internal_error: 'A record cannot be read, or the server failed',
  try_again_later:
    'The client makes no progress, or the access log cannot be written. Connect again later',
  bad_request: 'The query is not valid',
  unauthenticated: 'The token was revoked or has expired',
  unknown_run: 'There is no such run',
}
