import * as z from 'zod'
import { ALL_KINDS, type Kind } from '../domain/records.ts'

const KINDS: ReadonlyMap<string, Kind> = new Map(ALL_KINDS.map((kind) => [kind, kind]))

/** The kinds that an observer asks for. */
export const Kinds = z
  .string()
  .meta({
    description: `"all", or kinds separated by commas, of ${ALL_KINDS.join(', ')}. Without it: the ten documented kinds.`,
    examples: ['all', 'goal_check,run_end'],
  })
  .transform((text, context): ReadonlySet<Kind> => {
    if (text === 'all') return new Set(ALL_KINDS)
    const chosen = new Set<Kind>()
    for (const name of text.split(',')) {
      const kind = KINDS.get(name)
      if (kind === undefined) {
        context.addIssue(`must be "all", or some of ${ALL_KINDS.join(', ')}, not "${name}"`)
        return z.NEVER
      }
      chosen.add(kind)
    }
    return chosen
  })
