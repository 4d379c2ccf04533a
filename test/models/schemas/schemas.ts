import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { ValidateFunction } from 'ajv'
import { sha256 } from '../../../src/lib/sha256.ts'
import type { Api } from '../../../src/models/routing.ts'

/** The types in request-bodies.ts. */
export const TYPES: Readonly<Record<Api, string>> = {
  chat: 'ChatBody',
  responses: 'ResponsesBody',
  messages: 'MessagesBody',
  gemini: 'GeminiBody',
  ollama: 'OllamaBody',
}

export const SCHEMA_FILE = join(import.meta.dirname, 'request-schemas.json')
const PACKAGES = ['@anthropic-ai/sdk', '@google/genai', 'ollama', 'openai']

/** What the schemas are made from: the versions of the vendors' packages, and our own file. */
export async function currentSources(): Promise<Record<string, string>> {
  const versions = PACKAGES.map(async (name) => {
    const path = join(import.meta.dirname, '../../../node_modules', name, 'package.json')
    return [name, String(JSON.parse(await readFile(path, 'utf8')).version)]
  })
  const types = await readFile(join(import.meta.dirname, 'request-bodies.ts'), 'utf8')
  return { ...Object.fromEntries(await Promise.all(versions)), types: sha256(types) }
}

type SchemaFile = {
  readonly sources: Readonly<Record<string, string>>
  readonly schemas: Readonly<Record<Api, object>>
}
export const readSchemas = (): SchemaFile => JSON.parse(readFileSync(SCHEMA_FILE, 'utf8'))

const compiled = new Map<Api, ValidateFunction>()

/** Most tests ask no model, so the validator is loaded with the first request. */
function compile(api: Api): ValidateFunction {
  const { Ajv }: typeof import('ajv') = createRequire(import.meta.url)('ajv')
  const validate = new Ajv({ strict: false, allErrors: true }).compile(readSchemas().schemas[api])
  compiled.set(api, validate)
  return validate
}

/** Why the vendor would refuse this body; empty if its types allow it. A property that they do not name is refused. */
export function complaintsAbout(api: Api, body: object): string[] {
  const validate = compiled.get(api) ?? compile(api)
  if (validate(JSON.parse(JSON.stringify(body)))) return []
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  )
}

/** The bodies that a vendor would refuse, with the reasons: those that were checked since somebody emptied this. */
export const refused: string[] = []

/** The last body of each API that is valid: some tests send the same one thousands of times. */
const valid = new Map<Api, string>()

export function check(api: Api, body: object): void {
  const text = JSON.stringify(body)
  if (valid.get(api) === text) return
  const complaints = complaintsAbout(api, body)
  if (complaints.length === 0) valid.set(api, text)
  if (complaints.length > 0)
    refused.push(`${api}: ${complaints.join('\n')}\n${JSON.stringify(body)}`)
}

const API_OF: readonly (readonly [path: RegExp, api: Api])[] = [
  [/\/chat\/completions$/, 'chat'],
  [/\/responses$/, 'responses'],
  [/\/v1\/messages$/, 'messages'],
  [/:streamGenerateContent$/, 'gemini'],
  [/\/api\/chat$/, 'ollama'],
]

/** The API of a request; null if it asks no model. */
export const apiAt = (url: URL): Api | null =>
  API_OF.find(([path]) => path.test(url.pathname))?.[1] ?? null
