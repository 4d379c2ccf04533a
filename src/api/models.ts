import * as z from 'zod'
import { EFFORTS } from '../domain/run-config.ts'

const usd = z.number()

/** A model that a run may name: an item of GET /api/models. */
export const Model = z
  .object({
    name: z.string().describe('For `model_name`'),
    provider: z.string(),
    is_default: z.boolean().describe('Whether runs that name no model use it'),
    problem: z
      .string()
      .nullable()
      .describe('Why it cannot be called, and what to do; null if it can be called'),
    key_variable: z
      .string()
      .nullable()
      .describe("The variable of the server's environment for its key; null if it needs no key"),
    key_set: z.boolean(),
    context_window: z.int().nullable().describe('Tokens; null if it is not known'),
    max_output_tokens: z
      .int()
      .nullable()
      .describe('Of one reply, reasoning included; null if it is not known'),
    prices: z
      .object({
        input_usd_per_mtok: usd,
        output_usd_per_mtok: usd,
        cached_input_usd_per_mtok: usd.describe("Read from the provider's cache"),
        cache_write_usd_per_mtok: usd.describe('Written to it'),
      })
      .nullable()
      .describe(
        'US dollars for a million tokens of a short request; long requests may cost more. Null if they are not ' +
          'known: then a run with this model can have no max_cost_usd',
      ),
    reasoning_efforts: z
      .array(z.enum(EFFORTS))
      .readonly()
      .nullable()
      .describe('The values for `reasoning_effort`; null if they are not known'),
  })
  .meta({ id: 'Model' })
export type Model = z.infer<typeof Model>
