import { z } from 'zod'
import type { Kind } from '../../domain/records.ts'
import { Kinds } from '../kinds.ts'

/** What an observer asks for. */
export type Watch = {
  /** Frames behind this seq; -1 is all. */
  readonly after: number
  readonly kinds: ReadonlySet<Kind>
}

export const WatchQuery = z.strictObject({
  after: z
    .string()
    .regex(/^(-1|\d{1,15})$/, 'must be the seq of the last frame you have, or -1 for none')
    .transform(Number)
    .optional()
    .meta({
      description: 'seq of the last frame that the client has; frames behind it follow. -1: all.',
      examples: ['41'],
    }),
  kinds: Kinds.optional(),
})
