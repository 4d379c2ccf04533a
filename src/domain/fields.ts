import * as z from 'zod'

/** Any JSON value. It has a name in the descriptions of the API, because it contains itself. */
export const Json = z.json().register(z.globalRegistry, { id: 'Json' })

/** SHA-256, 64 lower-case hex digits. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits')

/** What a program can get as an argument or a path. */
export const NulFree = z
  .string()
  .refine((text) => !text.includes('\0'), 'must not contain a NUL character')

/** The streams of a log that hold no run, such as its ledgers, begin with this. */
export const OWN_STREAM_PREFIX = 'retrai-'

/** ISO 8601 in UTC, with milliseconds. */
export const Timestamp = z.iso.datetime({ precision: 3 })

/** An argument of a tool that a call may leave out, with its description for models. */
export const optional = <T extends z.ZodType>(schema: T, description: string) =>
  schema.optional().describe(description)
