import * as z from 'zod'
import type { RequestedCall } from './records.ts'

export const PLAN_TOOL = 'update_plan'

const MAX_STEPS = 50

/** What an agent intends to do, as it says itself. */
export const Plan = z
  .array(
    z
      .strictObject({
        step: z.string().min(1).max(300),
        status: z.enum(['pending', 'in_progress', 'completed']),
      })
      .readonly(),
  )
  .min(1)
  .max(MAX_STEPS)
  .readonly()
export type Plan = z.infer<typeof Plan>

/** The plan that a call notes; null if it notes none, or not any more, because its words were redacted. */
export function planOf({ tool, args }: Pick<RequestedCall, 'tool' | 'args'>): Plan | null {
  return tool === PLAN_TOOL ? (Plan.safeParse(args.steps).data ?? null) : null
}

const MARKS = { pending: '[ ]', in_progress: '[>]', completed: '[x]' } as const

/** A line for each step. */
export const planLines = (plan: Plan): readonly string[] =>
  plan.map(({ step, status }) => `${MARKS[status]} ${step}`)
