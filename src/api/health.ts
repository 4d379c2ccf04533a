import * as z from 'zod'

/** GET /health/live. */
export const Liveness = z.object({ status: z.literal('ok') }).meta({ id: 'Liveness' })

/** GET /health/ready. */
export const Readiness = z
  .object({
    ready: z.boolean(),
    checks: z.record(z.string(), z.object({ ok: z.boolean(), detail: z.string().optional() })),
  })
  .meta({ id: 'Readiness' })
export type Readiness = z.infer<typeof Readiness>
