import type { MessageCreateParamsStreaming } from '@anthropic-ai/sdk/resources/messages'
import type { ResponseCreateParamsStreaming } from 'openai/resources/responses/responses'
import { present } from '../../domain/present.ts'
import type { Effort } from '../model.ts'

type ClaudeThinking = Pick<MessageCreateParamsStreaming, 'thinking' | 'output_config'>

/** How a family of Claude models thinks. */
type Family = {
  readonly name: RegExp
  readonly thinking: 'adaptive' | 'budget'
  /** What keeps it from thinking, or makes it think least. */
  readonly off: ClaudeThinking
  /** The efforts that it has; empty if it cannot think. */
  readonly efforts: readonly Effort[]
  readonly maxOutputTokens: number
}

/** Without `display`, the newest models send their thoughts empty, and also what they say between calls. */
const SUMMARIZED = { type: 'adaptive', display: 'summarized' } as const
const ALWAYS_EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'] as const
const ALWAYS = {
  thinking: 'adaptive',
  off: { thinking: SUMMARIZED, output_config: { effort: 'low' } },
  efforts: ALWAYS_EFFORTS,
  maxOutputTokens: 128_000,
} as const
const ADAPTIVE = { ...ALWAYS, off: {}, efforts: ['none', ...ALWAYS_EFFORTS] } as const
const BUDGET = {
  thinking: 'budget',
  off: {},
  efforts: ['none', 'minimal', 'low', 'medium', 'high'],
  maxOutputTokens: 64_000,
} as const
const DISABLED = { thinking: { type: 'disabled' } } as const
const BETWEEN_TOOLS = {
  thinking: { type: 'between_tools' },
  output_config: { effort: 'low' },
} as const

/** By the documentation of Anthropic in November 2026. The first that fits is the one. */
const FAMILIES: readonly Family[] = [
  { ...ALWAYS, name: /^claude-(fable-5|mythos-5|opus-5-5)/ },
  { ...ADAPTIVE, name: /^claude-sonnet-5-5/, off: BETWEEN_TOOLS },
  { ...ADAPTIVE, name: /^claude-(haiku-5-5|sonnet-5|opus-5)/, off: DISABLED },
  { ...ADAPTIVE, name: /^claude-opus-4-[78]/ },
  {
    ...ADAPTIVE,
    name: /^claude-(opus|sonnet)-4-6/,
    efforts: ['none', 'low', 'medium', 'high'],
    maxOutputTokens: 64_000,
  },
  { ...BUDGET, name: /^claude-(opus-4-5|sonnet-4|haiku-4|3-7-sonnet)/ },
  { ...BUDGET, name: /^claude-opus-4/, maxOutputTokens: 32_000 },
  { ...BUDGET, name: /^claude-(3|2|instant)/, efforts: [], maxOutputTokens: 4_096 },
]

/** What is known of a Claude model; undefined if it is newer than this list. */
export const claudeFamily = (model: string): Family | undefined =>
  FAMILIES.find(({ name }) => name.test(model))

const familyOf = (model: string): Family => claudeFamily(model) ?? { ...ALWAYS, name: /./ }

/** Enough for long thoughts and a large file. */
const DEFAULT_OUTPUT_TOKENS = 32_000

/** The limit of a reply of Claude: Anthropic requires one. */
export function outputLimit(model: string, wanted: number | undefined): number {
  return Math.min(wanted ?? DEFAULT_OUTPUT_TOKENS, familyOf(model).maxOutputTokens)
}

/** The tokens of thinking that an effort means for Claude models that take a number. */
const CLAUDE_BUDGETS: Readonly<Record<Exclude<Effort, 'none'>, number>> = {
  minimal: 1_024,
  low: 4_096,
  medium: 8_192,
  high: 16_384,
  xhigh: 24_576,
  max: 24_576,
}
const MIN_BUDGET = 1_024

/**
 * The parameters about thinking. They must be the same in all requests of a run, because a change voids the cache.
 * @param maxTokens the limit on the reply, which thinking counts against
 */
export function claudeThinking(
  model: string,
  effort: Effort | undefined,
  maxTokens: number,
): ClaudeThinking {
  const { thinking, off, efforts } = familyOf(model)
  if (effort === 'none') return off
  if (thinking === 'budget') {
    if (effort === undefined || efforts.length === 0) return {}
    const budget = Math.min(CLAUDE_BUDGETS[effort], Math.floor(maxTokens / 2))
    return budget < MIN_BUDGET ? {} : { thinking: { type: 'enabled', budget_tokens: budget } }
  }
  if (effort === undefined) return { thinking: SUMMARIZED }
  const known = effort === 'minimal' ? 'low' : efforts.includes(effort) ? effort : 'high'
  return { thinking: SUMMARIZED, output_config: { effort: known } }
}

const GEMINI_LEVELS: Readonly<Record<Effort, string>> = {
  none: 'MINIMAL',
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
  xhigh: 'XHIGH',
  max: 'XHIGH',
}

/** The tokens of thinking that an effort means for Gemini 2.5, which takes a number. */
const GEMINI_BUDGETS: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 512,
  low: 1_024,
  medium: 8_192,
  high: 24_576,
  xhigh: 24_576,
  max: 24_576,
}
/** The Pro model of 2.5 cannot be kept from thinking. */
const LEAST_OF_PRO = 128

/** Gemini's `thinkingConfig`; null for a model that cannot think. */
export function geminiThinking(model: string, effort: Effort | undefined): object | null {
  if (/^gemini-(1|2\.0)/.test(model)) return null
  if (effort === undefined) return { includeThoughts: true }
  if (!/^gemini-2\.5/.test(model)) {
    return { thinkingLevel: GEMINI_LEVELS[effort], includeThoughts: true }
  }
  const least = model.includes('pro') ? LEAST_OF_PRO : 0
  const thinkingBudget = Math.max(least, GEMINI_BUDGETS[effort])
  return thinkingBudget === 0 ? { thinkingBudget } : { thinkingBudget, includeThoughts: true }
}

/** The models of OpenAI that do not reason. They refuse every parameter about it. */
const UNREASONING = /^(gpt-4|gpt-3|chatgpt-|gpt-5-chat)/

/** The parameters about reasoning of OpenAI and xAI. */
export function reasoning(
  effort: Effort | undefined,
  model: string,
  isXai: boolean,
): Pick<ResponseCreateParamsStreaming, 'include' | 'reasoning'> {
  if (UNREASONING.test(model)) return {}
  const include = ['reasoning.encrypted_content' as const]
  if (!isXai) return { include, reasoning: { summary: 'auto', ...present({ effort }) } }
  return effort === undefined ? { include } : { include, reasoning: { effort: nearest(effort) } }
}

/** The nearest of the efforts that xAI and others have. */
function nearest(effort: Effort): 'none' | 'low' | 'medium' | 'high' {
  if (effort === 'minimal') return 'low'
  return effort === 'xhigh' || effort === 'max' ? 'high' : effort
}

/** Ollama's `think`: most models know only whether to think. */
export function ollamaThink(model: string, effort: Effort): boolean | string {
  if (!/gpt-oss/i.test(model)) return effort !== 'none'
  return effort === 'none' ? 'low' : nearest(effort)
}
