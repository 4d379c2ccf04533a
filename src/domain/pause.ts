import * as z from 'zod'

/** What a run does at a limit, or if what it needs is away for long. */
export const OnLimit = z.enum([
  /** It ends without its goal, unless that is reached. */
  'end',
  /** It waits until a person raises the limit, or lets it continue. */
  'pause',
])
export type OnLimit = z.infer<typeof OnLimit>

/** Limits of a run that a person sets and may raise. */
export const LIMITS = ['max_iterations', 'max_cost_usd', 'max_tokens', 'max_seconds'] as const
export type Limit = (typeof LIMITS)[number]

/** Why a run is paused: a limit is reached, or a fault of something that it needs does not go away. */
export const PausedBy = z.enum([...LIMITS, 'provider', 'crashes', 'disk'])
export type PausedBy = z.infer<typeof PausedBy>

/** Whether a run is paused because of one of its limits. */
export const isLimit = (by: PausedBy): by is Limit => LIMITS.some((limit) => limit === by)
