import { readFile } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import { type Document, isNode, LineCounter, parseDocument } from 'yaml'
import * as z from 'zod'
import { messageOf } from '../../lib/message-of.ts'

const usd = z.number('must be a number of US dollars').nonnegative('must not be negative')
const tokens = z.int('must be a whole number of tokens').positive('must be more than 0')

const Fields = z.strictObject(
  {
    input_usd_per_mtok: usd.optional(),
    output_usd_per_mtok: usd.optional(),
    /** The price of input if it is left out, and so for writes. */
    cached_input_usd_per_mtok: usd.optional(),
    cache_write_usd_per_mtok: usd.optional(),
    context_window: tokens.optional(),
    max_output_tokens: tokens.optional(),
    images: z.boolean('must be true or false').optional(),
  },
  'must have fields, such as `context_window: 200000`',
)
const Entry = Fields.superRefine((entry, context) => {
  const { input_usd_per_mtok: input, output_usd_per_mtok: output } = entry
  const hasPrice = Object.keys(entry).some((name) => name.endsWith('_usd_per_mtok'))
  if (!hasPrice) return
  const missing = (name: string) =>
    context.addIssue({ code: 'custom', path: [name], message: 'is missing: a price needs it' })
  if (input === undefined) missing('input_usd_per_mtok')
  if (output === undefined) missing('output_usd_per_mtok')
})

const NO_LIST = 'must have a list of models, as in `models: {}`'
/** The content of RETRAI_PRICES. */
const PriceFile = z.strictObject({ models: z.record(z.string().min(1), Entry, NO_LIST) }, NO_LIST)

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
  /** Whether it can be shown images. */
  readonly images?: boolean | undefined
}
/** By the names of models, with their provider or without. */
export type OwnModels = ReadonlyMap<string, OwnModel>

/** Reads RETRAI_PRICES: JSON or YAML. The error is a text for people that names the file, and line and field of each mistake. */
export async function readPriceFile(path: string): Promise<Result<OwnModels, string>> {
  const problem = (what: string) => err(`RETRAI_PRICES: the file ${path} ${what}`)
  const lines = new LineCounter()
  let document: Document.Parsed
  try {
    // YAML contains JSON.
    document = parseDocument(await readFile(path, 'utf8'), { lineCounter: lines })
    const [mistake] = document.errors
    if (mistake !== undefined) throw mistake
  } catch (cause) {
    return problem(`cannot be read: ${messageOf(cause)}`)
  }
  const file = PriceFile.safeParse(document.toJS())
  if (file.success) {
    return ok(new Map(Object.entries(file.data.models).map(([name, entry]) => [name, own(entry)])))
  }
  const mistakes = file.error.issues.flatMap(mistakesIn).map(({ place, what }) => {
    const line = lines.linePos(offsetOf(document, place)).line
    return `  line ${line}: ${place.map(String).join(' › ') || 'the file'} ${what}`
  })
  return problem(`is not valid:\n${mistakes.join('\n')}`)
}

type Mistake = { readonly place: readonly PropertyKey[]; readonly what: string }

function mistakesIn({ path, message, ...issue }: z.core.$ZodIssue): Mistake[] {
  if (issue.code !== 'unrecognized_keys') return [{ place: path, what: message }]
  const known = path.length === 0 ? 'models' : Object.keys(Fields.shape).join(', ')
  const what = `is not a field. The fields are: ${known}`
  return issue.keys.map((key) => ({ place: [...path, key], what }))
}

/** Where a value is in the text; if it is missing, where the innermost value around it is. */
function offsetOf(document: Document.Parsed, place: readonly PropertyKey[]): number {
  for (let length = place.length; length > 0; length -= 1) {
    const node = document.getIn(place.slice(0, length), true)
    if (isNode(node) && node.range) return node.range[0]
  }
  return 0
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
    images: entry.images,
  }
}
