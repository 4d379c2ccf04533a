/** How a client waits, and how much it keeps. */
export type ClientLimits = {
  /** A call that has no answer by then has failed, milliseconds. */
  readonly requestMs: number
  /** A connection that is not open by then has failed, milliseconds. */
  readonly connectMs: number
  /**
   * A connection over which nothing came for between one and two of these is made anew, milliseconds:
   * a browser does not say when its peer is gone.
   */
  readonly silenceMs: number
  /** The pause before connecting again, milliseconds: it doubles from the first to the second. */
  readonly retryMs: readonly [first: number, longest: number]
  /**
   * How much may wait for a consumer that is slower than the server, in characters of JSON. Behind it
   * the connection is given up, and made again where the consumer stands once it has taken everything.
   */
  readonly bufferChars: number
  /** The most bytes of one answer, or of one line of a stream, that are kept: a server may send without end. */
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
