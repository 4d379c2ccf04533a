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

/** A service that speaks chat completions, and whose names follow from its prefix. */
const compatible = <Name extends string>(
  prefix: Name,
  baseUrl: string,
  model: string,
  priceList: string | null = prefix,
) => ({
  ...{ prefix, baseUrl, api: 'chat' as const, priceList, defaultModel: `${prefix}/${model}` },
  key: `${prefix.toUpperCase() as Uppercase<Name>}_API_KEY` as const,
})

export const PROVIDERS = {
  anthropic: {
    prefix: 'anthropic',
    baseUrl: 'https://api.anthropic.com/v1/',
    api: 'messages',
    key: 'ANTHROPIC_API_KEY',
    priceList: 'anthropic',
    defaultModel: 'claude-sonnet-4-6',
  },
  google: {
    prefix: 'gemini',
    baseUrl: 'https://generativelanguage.googleapis.com/v1',
    api: 'gemini',
    key: 'GEMINI_API_KEY',
    priceList: 'google',
    defaultModel: 'gemini/gemini-2.5-pro',
  },
  openai: {
    prefix: 'openai',
    baseUrl: 'https://api.openai.com/v1',
    api: 'responses',
    key: 'OPENAI_API_KEY',
    priceList: 'openai',
    defaultModel: 'openai/gpt-5.2',
  },
  xai: {
    prefix: 'xai',
    baseUrl: 'https://api.x.ai/v1',
    api: 'responses',
    key: 'XAI_API_KEY',
    priceList: 'x-ai',
    defaultModel: 'xai/grok-4.5',
  },
  deepseek: compatible('deepseek', 'https://api.deepseek.com', 'deepseek-v4-pro'),
  groq: compatible('groq', 'https://api.groq.com/openai/v1', 'openai/gpt-oss-120b'),
  mistral: compatible('mistral', 'https://api.mistral.ai/v1', 'devstral-2512'),
  moonshot: compatible('moonshot', 'https://api.moonshot.ai/v1', 'kimi-k3', 'moonshotai'),
  zai: compatible('zai', 'https://api.z.ai/api/paas/v4', 'glm-5.3'),
  dashscope: compatible(
    'dashscope',
    'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
    'qwen3.8-max',
    null,
  ),
  openrouter: compatible(
    'openrouter',
    'https://openrouter.ai/api/v1',
    'anthropic/claude-sonnet-4.6',
  ),
  ollama: {
    prefix: 'ollama',
    baseUrl: 'http://127.0.0.1:11434',
    api: 'ollama',
    key: null,
    priceList: null,
    defaultModel: null,
  },
} as const satisfies Record<string, ProviderInfo>

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
