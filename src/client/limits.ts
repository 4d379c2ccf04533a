/** How long a client waits, and how much it buffers. */
export type ClientLimits = {
  /** A call without an answer fails after this time, milliseconds. */
  readonly requestMs: number
  /** A connection that does not open within this time fails, milliseconds. */
  readonly connectMs: number
  /**
   * If nothing comes for one to two times this long, the client connects again, milliseconds: a browser does not
   * report that its server is gone.
   */
  readonly silenceMs: number
  /** The pause before connecting again, milliseconds: it doubles from the first to the second. */
  readonly retryMs: readonly [first: number, longest: number]
  /**
   * How much is buffered for a consumer that is slower than the server, in characters of JSON. If more comes, the
   * client gives up the connection, and connects again after the consumer has taken everything.
   */
  readonly bufferChars: number
  /** The most bytes of one answer, or of one line of a stream: a server may send without end. */
  readonly answerBytes: number
}

export const CLIENT_LIMITS: ClientLimits = {
  requestMs: 30_000,
  connectMs: 10_000,
  silenceMs: 60_000,
  retryMs: [250, 10_000],
  bufferChars: 4 * 1024 * 1024,
  answerBytes: 128 * 1024 * 1024,
}
