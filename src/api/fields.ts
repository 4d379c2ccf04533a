import * as z from 'zod'

/** No stream has a record with a larger seq, nor ever will. */
export const MAX_SEQ = 9_999_999_999

/** ISO 8601 in UTC, with milliseconds. */
export const Timestamp = z.iso.datetime({ precision: 3 })

/** A run id as a client gives it: a UUID in either case. Streams have it in lower case. */
export const RunId = z.uuid().toLowerCase()
