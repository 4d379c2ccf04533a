/** Streams that a log has beside those of its runs begin with this. */
export const OWN_STREAM_PREFIX = 'retrai-'
