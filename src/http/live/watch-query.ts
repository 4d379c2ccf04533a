import * as z from 'zod'
import type { Form } from '../../api/event-query.ts'
import { After, CaughtUp, WithMeta } from '../../api/event-query.ts'
import { Kinds } from '../../api/kinds.ts'
import type { Kind } from '../../domain/records.ts'

/** What an observer asks for. */
export type Watch = {
  /** Frames behind this seq; -1 is all. */
  readonly after: number
  readonly kinds: ReadonlySet<Kind>
  /** Whether it wants to be told when it has all that is stored. */
  readonly caughtUp: boolean
  readonly form: Form
}

export const WatchQuery = z.strictObject({
  after: After.optional().meta({
    description: 'seq of the last frame that the client has; frames behind it follow. -1: all.',
    examples: ['41'],
  }),
  kinds: Kinds.optional(),
  caught_up: CaughtUp.optional(),
  meta: WithMeta.optional(),
})
