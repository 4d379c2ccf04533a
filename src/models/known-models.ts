import { IMAGE_TYPES, type ImageType } from '../domain/records.ts'
import type { Effort } from '../domain/run-config.ts'
import { words } from '../lib/text.ts'
import { claudeFamily } from './adapters/thinking.ts'
import type { TokenPrices } from './operator-files.ts'
import type { ProviderName } from './providers.ts'
import type { Api, Route } from './routing.ts'

/**
 * The most that Ollama is asked for, unless RETRAI_PRICES has another window for the model. Its own default may be 4,096,
 * and it cuts longer prompts without an error; a larger window takes more memory.
 */
const OLLAMA_WINDOW_TOKENS = 65_536

/** The context window that Ollama is asked for: no more than the model has. */
export const ollamaWindow = ({ own, served }: Route): number =>
  own?.windowTokens ?? Math.min(served?.windowTokens ?? OLLAMA_WINDOW_TOKENS, OLLAMA_WINDOW_TOKENS)

/** What is known of a model and is not in the price list of genai-prices. */
type ModelFacts = {
  readonly windowTokens?: number
  readonly maxOutputTokens?: number
  /** The efforts that it accepts; empty if it has no such setting. */
  readonly efforts?: readonly Effort[]
  readonly prices?: TokenPrices
  /** Whether it can be shown images. */
  readonly images?: true
  /** Whether it thinks only if it is asked for an effort: that is the default of its provider. */
  readonly thinksIfAsked?: true
}

type Row = ModelFacts & { readonly provider: ProviderName; readonly names: RegExp }

const LOW_TO_HIGH = ['low', 'medium', 'high'] as const
const LOW_TO_MAX = ['low', 'medium', 'high', 'xhigh', 'max'] as const
const NONE_TO_MAX = ['none', ...LOW_TO_MAX] as const
const LOW_HIGH_MAX = ['low', 'high', 'max'] as const

const prices = (input: number, output: number, cached: number, write: number): TokenPrices => ({
  input_usd_per_mtok: input,
  output_usd_per_mtok: output,
  cached_input_usd_per_mtok: cached,
  cache_write_usd_per_mtok: write,
})

/**
 * By the documentation of the providers in November 2026; the efforts of Claude models are with their adapter. A model gets the facts of all rows that match it; the first
 * row with a fact wins. Prices are here only if the price list has none, or another model's.
 */
const ROWS: readonly Row[] = [
  { provider: 'anthropic', names: /^claude-fable-5-2$/, prices: prices(8, 40, 0.8, 10) },
  { provider: 'anthropic', names: /^claude-sonnet-5-5$/, prices: prices(2, 10, 0.2, 2.5) },
  {
    provider: 'anthropic',
    names: /^claude-((fable|mythos|opus|sonnet|haiku)-5(-\d)?|opus-4-[78])$/,
    windowTokens: 1_000_000,
  },
  { provider: 'openai', names: /^gpt-6\.1-sol/, windowTokens: 1_050_000, efforts: LOW_TO_MAX },
  { provider: 'openai', names: /^gpt-(6-sol|6-luna|5\.6-)/, efforts: NONE_TO_MAX },
  { provider: 'openai', names: /^gpt-5\.[2-4]$/, efforts: ['none', ...LOW_TO_HIGH, 'xhigh'] },
  { provider: 'openai', names: /^gpt-5\.1$/, efforts: ['none', ...LOW_TO_HIGH] },
  { provider: 'openai', names: /^gpt-5(-mini|-nano)?$/, efforts: ['minimal', ...LOW_TO_HIGH] },
  { provider: 'openai', names: /^gpt-[56]/, maxOutputTokens: 128_000 },
  { provider: 'google', names: /^gemini-3(\.\d)?-flash/, efforts: ['minimal', ...LOW_TO_HIGH] },
  { provider: 'openai', names: /^gpt-5\.[1-4](-mini|-nano)?$/, thinksIfAsked: true },
  {
    provider: 'google',
    names: /^gemini-(2\.5-|3\.1-pro|4-argon)/,
    windowTokens: 1_048_576,
  },
  { provider: 'google', names: /^gemini-2\.5-flash-lite/, thinksIfAsked: true },
  {
    provider: 'dashscope',
    names: /^qwen3\.8-max/,
    windowTokens: 991_000,
    maxOutputTokens: 128_000,
  },
  { provider: 'google', names: /^gemini-(2\.5|[34])/, maxOutputTokens: 65_536 },
  { provider: 'anthropic', names: /^claude-/, images: true },
  { provider: 'openai', names: /^(gpt-4o|gpt-4\.1|gpt-4-turbo|gpt-[56]|o1$|o3|o4)/, images: true },
  { provider: 'google', names: /^gemini-/, images: true },
  { provider: 'xai', names: /^grok-4/, images: true },
  { provider: 'groq', names: /^meta-llama\/llama-4/, images: true },
  { provider: 'mistral', names: /^(pixtral|mistral-medium-3)/, images: true },
  { provider: 'dashscope', names: /^qwen.*-vl/, images: true },
  {
    provider: 'openrouter',
    names: /^(anthropic\/claude-|openai\/gpt-(4o|4\.1|[56])|google\/gemini-)/,
    images: true,
  },
  {
    provider: 'openrouter',
    names: /^(openai\/gpt-5\.[1-4](-mini|-nano)?$|anthropic\/claude-(3\.7-|(opus|sonnet|haiku)-4))/,
    thinksIfAsked: true,
  },
  { provider: 'xai', names: /^grok-4\.[5-9]/, efforts: LOW_TO_HIGH },
  { provider: 'xai', names: /^grok-4\.3/, efforts: ['none', ...LOW_TO_HIGH] },
  { provider: 'groq', names: /^openai\/gpt-oss-/, efforts: LOW_TO_HIGH },
  { provider: 'moonshot', names: /^kimi-k3/, efforts: LOW_HIGH_MAX },
  { provider: 'zai', names: /^glm-5\.3/i, efforts: LOW_HIGH_MAX },
]

/** The facts of a model. At an operator's endpoint, only its name counts. */
export function factsFor({ endpoint: { vendor }, model }: Route): ModelFacts {
  const facts: ModelFacts = vendor === null || vendor === 'anthropic' ? ofClaude(model) : {}
  for (const { provider, names, ...more } of ROWS) {
    if ((vendor === null || vendor === provider) && names.test(model)) {
      Object.assign(facts, more, facts)
    }
  }
  return facts
}

function ofClaude(model: string): ModelFacts {
  const family = claudeFamily(model)
  if (family === undefined) return {}
  const { efforts, maxOutputTokens, thinking } = family
  const isOff = thinking === 'budget' && efforts.length > 0
  return { efforts, maxOutputTokens, ...(isOff ? { thinksIfAsked: true } : {}) }
}

/** The most tokens of a reply, reasoning included; null if that is not known. */
export const maxOutputTokens = (target: Route): number | null =>
  target.own?.maxOutputTokens ?? factsFor(target).maxOutputTokens ?? null

/** Whether a model thinks only if it is asked for an effort. Nobody knows that of what an operator's endpoint serves. */
export const thinksOnlyIfAsked = (target: Route): boolean =>
  target.endpoint.vendor !== null && factsFor(target).thinksIfAsked === true

/** The images that each API takes. */
const API_IMAGES: Readonly<Record<Api, readonly ImageType[]>> = {
  chat: IMAGE_TYPES,
  responses: IMAGE_TYPES,
  messages: IMAGE_TYPES,
  gemini: ['image/png', 'image/jpeg', 'image/webp'],
  ollama: ['image/png', 'image/jpeg'],
}
const XAI_IMAGES: readonly ImageType[] = ['image/png', 'image/jpeg']

/**
 * The images that a model can be shown. At an operator's endpoint, a name does not say which model answers, so it gets images only if
 * RETRAI_PRICES says that; Ollama is asked.
 */
export function imageTypes(target: Route): readonly ImageType[] {
  const { own, served, endpoint, api } = target
  const known = endpoint.vendor === null ? undefined : factsFor(target).images
  const can = own?.images ?? served?.capabilities?.includes('vision') ?? known ?? false
  if (!can) return []
  return endpoint.vendor === 'xai' ? XAI_IMAGES : API_IMAGES[api]
}

/** Models that are listed without a request to their provider: current ones that can call tools. */
export const LISTED_MODELS = words(`
  anthropic/claude-opus-5-5 anthropic/claude-sonnet-5-5 anthropic/claude-haiku-5-5
  anthropic/claude-fable-5-2 anthropic/claude-opus-5 anthropic/claude-sonnet-5
  anthropic/claude-sonnet-4-6
  openai/gpt-6-astra openai/gpt-6.1-sol openai/gpt-6-sol openai/gpt-6-luna openai/gpt-5.6-sol
  openai/gpt-5.6-terra openai/gpt-5.6-luna openai/gpt-5.5 openai/gpt-5.4 openai/gpt-5.4-mini
  openai/gpt-5.2
  gemini/gemini-4-argon gemini/gemini-3.8-flash gemini/gemini-3.1-pro-preview
  gemini/gemini-2.5-pro gemini/gemini-2.5-flash
  xai/grok-4.6 xai/grok-4.5
  deepseek/deepseek-v4-pro deepseek/deepseek-v4-flash
  groq/openai/gpt-oss-120b groq/openai/gpt-oss-20b
  mistral/devstral-2512 mistral/mistral-medium-3-5
  moonshot/kimi-k3 moonshot/kimi-k2.7-code
  zai/glm-5.3
  dashscope/qwen3.8-max
  openrouter/anthropic/claude-opus-5 openrouter/openai/gpt-5.6-sol
`)
