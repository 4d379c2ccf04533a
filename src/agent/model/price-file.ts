import { readFile } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import { parse } from 'yaml'
import * as z from 'zod'
import { messageOf } from '../../lib/message-of.ts'

const usd = z.number('must be a number of US dollars').nonnegative('must not be negative')
const tokens = z.int('must be a whole number of tokens').positive('must be more than 0')

const Entry = z
  .strictObject({
    input_usd_per_mtok: usd.optional(),
    output_usd_per_mtok: usd.optional(),
    /** The price of input if it is left out, and so for writes. */
    cached_input_usd_per_mtok: usd.optional(),
    cache_write_usd_per_mtok: usd.optional(),
    context_window: tokens.optional(),
    max_output_tokens: tokens.optional(),
  })
  .superRefine((entry, context) => {
    const { input_usd_per_mtok: input, output_usd_per_mtok: output } = entry
    const hasPrice = Object.keys(entry).some((name) => name.endsWith('_usd_per_mtok'))
    if (!hasPrice) return
    const missing = (name: string) =>
      context.addIssue({ code: 'custom', path: [name], message: 'is missing: a price needs it' })
    if (input === undefined) missing('input_usd_per_mtok')
    if (output === undefined) missing('output_usd_per_mtok')
  })

/** The content of RETRAI_PRICES. */
const PriceFile = z.strictObject({ models: z.record(z.string().min(1), Entry) })

/** US dollars for a million tokens each. */
export type TokenPrices = {
  readonly input_usd_per_mtok: number
  readonly output_usd_per_mtok: number
  /** Read from the provider's cache. */
  readonly cached_input_usd_per_mtok: number
  /** Written to it. */
  readonly cache_write_usd_per_mtok: number
}

/** What an operator knows of a model. It wins over what retrAI knows. */
export type OwnModel = {
  readonly prices: TokenPrices | undefined
  readonly windowTokens: number | undefined
  readonly maxOutputTokens: number | undefined
}
/** By the names of models, with their provider or without. */
export type OwnModels = ReadonlyMap<string, OwnModel>

/** Reads RETRAI_PRICES: JSON or YAML. The error is a text for people that names the file and each wrong field. */
export async function readPriceFile(path: string): Promise<Result<OwnModels, string>> {
  const problem = (what: string) => err(`RETRAI_PRICES: the file ${path} ${what}`)
  let content: unknown
  try {
    // YAML contains JSON.
    content = parse(await readFile(path, 'utf8'))
  } catch (cause) {
    return problem(`cannot be read: ${messageOf(cause)}`)
  }
  const file = PriceFile.safeParse(content)
  if (!file.success) return problem(`is not valid:\n${file.error.issues.map(described).join('\n')}`)
  return ok(new Map(Object.entries(file.data.models).map(([name, entry]) => [name, own(entry)])))
}

function described({ path, message, ...issue }: z.core.$ZodIssue): string {
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : ''
  const what = unknown === '' ? message : `has no field ${unknown}`
  return `  ${path.map(String).join(' › ') || 'the file'}: ${what}`
}

function own(entry: z.infer<typeof Entry>): OwnModel {
  const { input_usd_per_mtok: input, output_usd_per_mtok: output } = entry
  return {
    prices:
      input === undefined || output === undefined
        ? undefined
        : {
            input_usd_per_mtok: input,
            output_usd_per_mtok: output,
            cached_input_usd_per_mtok: entry.cached_input_usd_per_mtok ?? input,
            cache_write_usd_per_mtok: entry.cache_write_usd_per_mtok ?? input,
          },
    windowTokens: entry.context_window,
    maxOutputTokens: entry.max_output_tokens,
  }
}
