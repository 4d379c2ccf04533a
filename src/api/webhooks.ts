import * as z from 'zod'
import { Timestamp } from '../domain/fields.ts'
import { ALL_KINDS, type Kind } from '../domain/records.ts'

/** The kinds of records that need a person, or end a run. */
const DUE_KINDS = [
  'human_check_required',
  'approval_required',
  'run_paused',
  'run_end',
] as const satisfies readonly Kind[]

const name = (longest: number) => z.string().min(1).max(longest).exactOptional()

/** Whose records are delivered. All that are set must hold; without any, those of all runs. */
export const RunFilter = z
  .strictObject({
    project: name(255).describe('The name of the folder of the project'),
    tag: name(64).describe('A tag that the run has when its record is read'),
    principal: name(64).describe('Who started the run'),
  })
  .describe('Only records of these runs, and of their sub-agents')
export type RunFilter = z.infer<typeof RunFilter>

/** The body of POST /api/webhooks. */
export const CreateWebhook = z
  .strictObject({
    url: z
      .url('must be an address, such as https://hooks.example.org/retrai')
      .max(2048)
      .describe('https, and a public address, unless RETRAI_WEBHOOK_HOSTS names the host'),
    kinds: z
      .array(z.enum(ALL_KINDS))
      .min(1)
      .default([...DUE_KINDS])
      .describe('Kinds of records; without it, those that need a person or end a run'),
    run: RunFilter.default({}),
    from: z
      .string()
      .default('now')
      .describe('"now", "start" (the first record of the log), or a `cursor` of all runs'),
  })
  .meta({ id: 'CreateWebhook', examples: [{ url: 'https://hooks.example.org/retrai' }] })
export type CreateWebhook = z.input<typeof CreateWebhook>

/** An item of GET /api/webhooks. */
export const WebhookView = z
  .object({
    id: z.uuid(),
    url: z.string(),
    kinds: z.array(z.string()),
    run: RunFilter.strip(),
    state: z
      .enum(['active', 'retrying', 'stopped'])
      .describe('`stopped`: nothing is sent until somebody resumes it, and nothing is skipped'),
    cursor: z.string().nullable().describe('The last record that was read; null before the first'),
    delivered: z.int(),
    pending: z.int().describe('How many records were read and are not delivered yet'),
    last_error: z.string().nullable(),
    next_try: Timestamp.nullable(),
    created_at: Timestamp,
    created_by: z.string().nullable(),
  })
  .meta({ id: 'Webhook' })
export type WebhookView = z.infer<typeof WebhookView>

/** The answer to POST /api/webhooks. */
export const NewWebhookView = WebhookView.extend({
  secret: z.string().describe('Verifies deliveries. No other response has it'),
}).meta({ id: 'NewWebhook' })
export type NewWebhookView = z.infer<typeof NewWebhookView>

/** What came back for a delivery. */
const Answered = z.object({
  status: z.int().nullable().describe('The HTTP status; null if there was no answer'),
  error: z.string().nullable().describe('Why it does not count as received; null if it does'),
  duration_ms: z.int(),
})

/** The answer to POST /api/webhooks/{id}/test. */
export const TestedWebhook = Answered.extend({
  answer: z.string().describe('The beginning of the body that came back'),
}).meta({ id: 'TestedWebhook' })
export type TestedWebhook = z.infer<typeof TestedWebhook>

/** An item of GET /api/webhooks/{id}/deliveries. */
export const DeliveryView = z
  .object({
    webhook_id: z.string().describe('The header of that name'),
    run_id: z.uuid(),
    seq: z.int(),
    kind: z.string(),
    attempt: z.int().positive(),
    at: Timestamp,
    ...Answered.shape,
  })
  .meta({ id: 'WebhookDelivery' })
export type DeliveryView = z.infer<typeof DeliveryView>
