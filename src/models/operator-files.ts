import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { readSettingFile } from '../lib/setting-file.ts'
import type { OwnSecret } from '../masking/mask.ts'

/** US dollars for a million tokens each. */
export type TokenPrices = {
  readonly input_usd_per_mtok: number
  readonly output_usd_per_mtok: number
  /** Read from the provider's cache. */
  readonly cached_input_usd_per_mtok: number
  /** Written to it. */
  readonly cache_write_usd_per_mtok: number
}

const usd = z.number('must be a number of US dollars').nonnegative('must not be negative')
const tokens = z.int('must be a whole number of tokens').positive('must be more than 0')

const ModelEntry = z
  .strictObject(
    {
      input_usd_per_mtok: usd.optional(),
      output_usd_per_mtok: usd.optional(),
      cached_input_usd_per_mtok: usd.optional(),
      cache_write_usd_per_mtok: usd.optional(),
      context_window: tokens.optional(),
      max_output_tokens: tokens.optional(),
      images: z.boolean('must be true or false').optional(),
    },
    { error: ({ code }) => (code === 'invalid_type' ? 'must have fields' : undefined) },
  )
  .transform((entry, context) => {
    const { input_usd_per_mtok: input, output_usd_per_mtok: output } = entry
    const hasBoth = input !== undefined && output !== undefined
    if (!hasBoth && Object.keys(entry).some((name) => name.endsWith('_usd_per_mtok'))) {
      context.addIssue('a price needs input_usd_per_mtok and output_usd_per_mtok')
    }
    const prices: TokenPrices | false = hasBoth && {
      input_usd_per_mtok: input,
      output_usd_per_mtok: output,
      cached_input_usd_per_mtok: entry.cached_input_usd_per_mtok ?? input,
      cache_write_usd_per_mtok: entry.cache_write_usd_per_mtok ?? input,
    }
    return {
      prices: prices || undefined,
      windowTokens: entry.context_window,
      maxOutputTokens: entry.max_output_tokens,
      images: entry.images,
    }
  })
/** What an operator knows of a model. It wins over what retrAI knows. */
export type OwnModel = Partial<z.output<typeof ModelEntry>>
/** By the names of models, with their provider or without. */
export type OwnModels = ReadonlyMap<string, OwnModel>

const NO_LIST = 'must have a list of models, as in `models: {}`'
const PriceFile = z.strictObject(
  { models: z.record(z.string().min(1), ModelEntry, NO_LIST) },
  { error: ({ code }) => (code === 'invalid_type' ? NO_LIST : undefined) },
)

/** Reads RETRAI_PRICES. */
export async function readPriceFile(path: string | undefined): Promise<Result<OwnModels, string>> {
  if (path === undefined) return ok(new Map())
  const file = await readSettingFile('RETRAI_PRICES', path, PriceFile)
  return file.map(({ models }) => new Map(Object.entries(models)))
}

/** The wire APIs that there are adapters for. */
const APIS = ['chat', 'responses', 'messages', 'gemini', 'ollama'] as const
export type Api = (typeof APIS)[number]

/** An entry of RETRAI_PROVIDERS: where models named `name/…` are, and how they are called. */
type OwnProvider = {
  readonly name: string
  readonly api: Api
  readonly baseUrl: string
  /** With the values of their variables. */
  readonly headers: Readonly<Record<string, string>>
  /** The environment variable of the key; null: that of the vendor with this name, if there is one. */
  readonly keyVariable: string | null
  readonly apiKey: string | null
}
export type OwnProviders = ReadonlyMap<string, OwnProvider>

/** The address of a model endpoint. Its client refuses one with a password. */
export const modelUrl = (keyName: string) =>
  z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
    .refine(
      (url) => URL.parse(url)?.username === '' && URL.parse(url)?.password === '',
      `must hold no user name or password: put the key into ${keyName}`,
    )

const ProviderEntry = z.strictObject({
  api: z.enum(APIS, `must be one of ${APIS.join(', ')}`),
  base_url: modelUrl('key_env'),
  headers: z
    .record(
      z.string().regex(/^[\w-]+$/, 'is not the name of a header'),
      z.string().regex(/^[\x20-\x7e]*$/, 'must have no line breaks, and only ASCII'),
    )
    .default({}),
  key_env: z.string().regex(/^\w+$/, 'must be the name of an environment variable').optional(),
})
const Name = z.string().regex(/^[\w.-]+$/, 'must have only letters, digits, and . _ -')
const ProviderFile = z.record(Name, ProviderEntry, 'must be {"NAME": {"api": …, "base_url": …}}')

/** Headers whose whole value is a secret. Of the others, only the values of variables are. */
const SECRET = /auth|key|token|secret|cookie|password/i
const VARIABLE = /\$\{(\w+)\}/g

/** Reads RETRAI_PROVIDERS, and the variables that it names. */
export async function readProviderFile(
  path: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Result<{ providers: OwnProviders; secrets: readonly OwnSecret[] }, string>> {
  if (path === undefined) return ok({ providers: new Map(), secrets: [] })
  const file = await readSettingFile('RETRAI_PROVIDERS', path, ProviderFile)
  if (file.isErr()) return err(file.error)
  const secrets: OwnSecret[] = []
  const missing: string[] = []
  const providers = new Map<string, OwnProvider>()
  for (const [name, { api, base_url: baseUrl, headers, key_env }] of Object.entries(file.value)) {
    const filled = Object.entries(headers).map(([header, template]) => {
      const value = template.replace(VARIABLE, (_, variable: string) => {
        const set = env[variable] ?? ''
        if (set === '') missing.push(`  ${name}.headers.${header}: ${variable} is not set`)
        secrets.push({ name: variable, value: set })
        return set
      })
      // In `Bearer …`, the last word is the secret.
      const last = value.split(' ').at(-1) ?? ''
      if (SECRET.test(header)) secrets.push({ name: 'RETRAI_PROVIDERS', value: last })
      return [header.toLowerCase(), value] as const
    })
    const apiKey = (key_env === undefined ? undefined : env[key_env]) || null
    if (key_env !== undefined) secrets.push({ name: key_env, value: apiKey ?? '' })
    const own = { name, api, baseUrl, headers: Object.fromEntries(filled), apiKey }
    providers.set(name, { ...own, keyVariable: key_env ?? null })
  }
  const known = secrets.filter(({ value }) => value !== '')
  if (missing.length === 0) return ok({ providers, secrets: known })
  return err(`RETRAI_PROVIDERS: the file ${path} names variables:\n${missing.join('\n')}`)
}
