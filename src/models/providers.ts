import type { Api } from './operator-files.ts'

/** A service of models: where it is, which variable holds its key, and what the price list calls it. */
type ProviderInfo = {
  /** The first part of a name such as `anthropic/claude-sonnet-4-6`, as in LiteLLM. */
  readonly prefix: string
  readonly baseUrl: string
  /** The API that it speaks best. */
  readonly api: Api
  /** The environment variable of the key; null if none is needed. */
  readonly key: string | null
  /** The provider in the price list of genai-prices; null if it has no such provider. */
  readonly priceList: string | null
  /** The model of a run that names none, if only the key of this provider is set. */
  readonly defaultModel: string | null
}

/** A service, whose names follow from its prefix unless it has others. */
const service = <Name extends string, Own extends Partial<ProviderInfo> = object>(
  prefix: Name,
  baseUrl: string,
  model: string,
  own?: Own,
) => ({
  prefix,
  baseUrl,
  api: 'chat' as Api,
  priceList: prefix as string | null,
  key: `${prefix.toUpperCase() as Uppercase<Name>}_API_KEY` as const,
  defaultModel: `${prefix}/${model}` as string | null,
  ...(own as Own),
})

export const PROVIDERS = {
  anthropic: service('anthropic', 'https://api.anthropic.com/v1/', 'claude-sonnet-4-6', {
    api: 'messages',
    defaultModel: 'claude-sonnet-4-6',
  }),
  google: service('gemini', 'https://generativelanguage.googleapis.com/v1', 'gemini-2.5-pro', {
    api: 'gemini',
    priceList: 'google',
  }),
  openai: service('openai', 'https://api.openai.com/v1', 'gpt-5.2', { api: 'responses' }),
  xai: service('xai', 'https://api.x.ai/v1', 'grok-4.5', { api: 'responses', priceList: 'x-ai' }),
  deepseek: service('deepseek', 'https://api.deepseek.com', 'deepseek-v4-pro'),
  groq: service('groq', 'https://api.groq.com/openai/v1', 'openai/gpt-oss-120b'),
  mistral: service('mistral', 'https://api.mistral.ai/v1', 'devstral-2512'),
  moonshot: service('moonshot', 'https://api.moonshot.ai/v1', 'kimi-k3', {
    priceList: 'moonshotai',
  }),
  zai: service('zai', 'https://api.z.ai/api/paas/v4', 'glm-5.3'),
  dashscope: service(
    'dashscope',
    'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
    'qwen3.8-max',
    { priceList: null },
  ),
  openrouter: service('openrouter', 'https://openrouter.ai/api/v1', 'anthropic/claude-sonnet-4.6'),
  ollama: {
    prefix: 'ollama',
    baseUrl: 'http://127.0.0.1:11434',
    api: 'ollama',
    key: null,
    priceList: null,
    defaultModel: null,
  },
} satisfies Record<string, ProviderInfo>

export type ProviderName = keyof typeof PROVIDERS
type KeyVariable = Exclude<(typeof PROVIDERS)[ProviderName]['key'], null>

/** The keys of the providers, by their environment variables. */
export type ProviderKeys = { readonly [V in KeyVariable]?: string | undefined }

const isName = (name: string): name is ProviderName => Object.hasOwn(PROVIDERS, name)
export const PROVIDER_NAMES: readonly ProviderName[] = Object.keys(PROVIDERS).filter(isName)

/** The environment variables of the keys. */
export const KEY_VARIABLES: readonly KeyVariable[] = PROVIDER_NAMES.flatMap(
  (name) => PROVIDERS[name].key ?? [],
)

export const keyOf = (name: ProviderName, keys: ProviderKeys): string | undefined => {
  const { key } = PROVIDERS[name]
  return key === null ? undefined : keys[key]
}

/** The provider and the rest of a name such as `anthropic/claude-sonnet-4-6`; null if it begins with no known provider. */
export function providerIn(
  modelName: string,
): { readonly name: ProviderName; readonly model: string } | null {
  const slash = modelName.indexOf('/')
  const prefix = modelName.slice(0, Math.max(0, slash))
  const name = PROVIDER_NAMES.find((name) => PROVIDERS[name].prefix === prefix)
  return name === undefined ? null : { name, model: modelName.slice(slash + 1) }
}
