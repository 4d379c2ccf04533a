import { err, ok, type Result } from 'neverthrow'
import { z } from 'zod'
import { ALL_KINDS, DOCUMENTED_KINDS, type Kind } from '../../domain/records.ts'
import { problemsOf } from '../validation.ts'

/** What an observer asks for. */
export type Watch = {
  /** Frames behind this seq; -1 is all. */
  readonly after: number
  readonly kinds: ReadonlySet<Kind>
}

const KINDS: ReadonlyMap<string, Kind> = new Map(ALL_KINDS.map((kind) => [kind, kind]))

export const WatchQuery = z.strictObject({
  after: z
    .string()
    .regex(/^(-1|\d{1,15})$/, 'must be the seq of the last frame you have, or -1 for none')
    .optional()
    .meta({
      description: 'seq of the last frame that the client has; frames behind it follow. -1: all.',
      examples: ['41'],
    }),
  kinds: z
    .string()
    .optional()
    .meta({
      description: `"all", or kinds separated by commas, of ${ALL_KINDS.join(', ')}. Without it: the ten documented kinds.`,
      examples: ['all', 'goal_check,run_end'],
    }),
})

/** Reads the query of a WebSocket address; the error is a sentence for a person. */
export function parseWatch(query: unknown): Result<Watch, string> {
  const parsed = WatchQuery.safeParse(query, { reportInput: true })
  if (!parsed.success) {
    return err(
      problemsOf(parsed.error.issues, 'query')
        .map((problem) => problem.message)
        .join(' '),
    )
  }
  const { after = '-1', kinds } = parsed.data
  return parseKinds(kinds).map((chosen) => ({ after: Number(after), kinds: chosen }))
}

function parseKinds(text: string | undefined): Result<ReadonlySet<Kind>, string> {
  if (text === undefined) return ok(new Set(DOCUMENTED_KINDS))
  if (text === 'all') return ok(new Set(ALL_KINDS))
  const chosen = new Set<Kind>()
  for (const name of text.split(',')) {
    const kind = KINDS.get(name)
    if (kind === undefined) {
      return err(`There is no kind "${name}". Choose "all", or some of ${ALL_KINDS.join(', ')}.`)
    }
    chosen.add(kind)
  }
  return ok(chosen)
}
