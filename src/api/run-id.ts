import * as z from 'zod'

/** A run id as a client gives it: a UUID in either case. Streams are named in lower case. */
export const RunId = z.uuid().toLowerCase()

/** Any text in the path is taken, so that a wrong id is an unknown run and not an invalid request. */
export const RunParams = z.object({
  run_id: z.string().meta({ format: 'uuid', examples: ['550e8400-e29b-41d4-a716-446655440000'] }),
})
