import { readFile } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { OwnSecret } from '../../domain/mask/own-secrets.ts'
import { messageOf } from '../../lib/message-of.ts'

/** The wire APIs that there are adapters for. */
const APIS = ['chat', 'responses', 'messages', 'gemini', 'ollama'] as const
export type Api = (typeof APIS)[number]

/** An entry of RETRAI_PROVIDERS: where models named `name/…` are, and how they are called. */
export type OwnProvider = {
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

const Entry = z.strictObject({
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
const ProviderFile = z.record(Name, Entry, 'must be {"NAME": {"api": …, "base_url": …}}')

/** Headers whose whole value is a secret. Of the others, only the values of variables are. */
const SECRET = /auth|key|token|secret|cookie|password/i
const VARIABLE = /\$\{(\w+)\}/g

/**
 * Reads RETRAI_PROVIDERS, and the variables that it names. The error is a text for people that names the file and the
 * place of each mistake in it.
 */
export async function readProviderFile(
  path: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Result<{ providers: OwnProviders; secrets: readonly OwnSecret[] }, string>> {
  if (path === undefined) return ok({ providers: new Map(), secrets: [] })
  const problem = (what: string) => err(`RETRAI_PROVIDERS: the file ${path} ${what}`)
  let content: unknown
  try {
    content = JSON.parse(await readFile(path, 'utf8'))
  } catch (cause) {
    return problem(`cannot be read: ${messageOf(cause)}`)
  }
  const file = ProviderFile.safeParse(content)
  if (!file.success) {
    const mistakes = file.error.issues.map((issue) => {
      const inKey = issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined
      return `  ${issue.path.join('.') || 'it'}: ${inKey ?? issue.message}`
    })
    return problem(`is not valid:\n${mistakes.join('\n')}`)
  }
  const secrets: OwnSecret[] = []
  const missing: string[] = []
  const own = ([name, { api, base_url, headers, key_env }]: [string, z.infer<typeof Entry>]) => {
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
      return [header, value] as const
    })
    const apiKey = (key_env === undefined ? undefined : env[key_env]) || null
    if (key_env !== undefined) secrets.push({ name: key_env, value: apiKey ?? '' })
    const keyVariable = key_env ?? null
    const address = { baseUrl: base_url, headers: Object.fromEntries(filled) }
    return [name, { name, api, ...address, keyVariable, apiKey }] as const
  }
  const providers = new Map(Object.entries(file.data).map(own))
  if (missing.length > 0) return problem(`names variables:\n${missing.join('\n')}`)
  return ok({ providers, secrets: secrets.filter(({ value }) => value !== '') })
}
