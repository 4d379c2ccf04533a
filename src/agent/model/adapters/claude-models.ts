import type { MessageCreateParamsStreaming } from '@anthropic-ai/sdk/resources/messages'
import type { Effort } from '../model.ts'

type ThinkingParams = Pick<MessageCreateParamsStreaming, 'thinking' | 'output_config'>

/** How a family of models thinks. `off` is what turns it off; null if nothing does. */
type Family = {
  readonly name: RegExp
  readonly thinking: 'adaptive' | 'budget'
  readonly off: 'between_tools' | 'disabled' | 'left_out' | null
  /** The efforts that it has; empty if it cannot think. */
  readonly efforts: readonly Effort[]
  readonly maxOutputTokens: number
}

const ALWAYS_EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'] as const
const ALWAYS = {
  thinking: 'adaptive',
  off: null,
  efforts: ALWAYS_EFFORTS,
  maxOutputTokens: 128_000,
} as const
const ADAPTIVE = { ...ALWAYS, efforts: ['none', ...ALWAYS_EFFORTS] } as const
const BUDGET = {
  thinking: 'budget',
  off: 'left_out',
  efforts: ['none', 'minimal', 'low', 'medium', 'high'],
  maxOutputTokens: 64_000,
} as const

/** By the documentation of Anthropic in November 2026. The first that fits is the one. */
const FAMILIES: readonly Family[] = [
  { ...ALWAYS, name: /^claude-(fable-5|mythos-5|opus-5-5)/ },
  { ...ADAPTIVE, name: /^claude-sonnet-5-5/, off: 'between_tools' },
  { ...ADAPTIVE, name: /^claude-(haiku-5-5|sonnet-5|opus-5)/, off: 'disabled' },
  { ...ADAPTIVE, name: /^claude-opus-4-[78]/, off: 'left_out' },
  {
    ...ADAPTIVE,
    name: /^claude-(opus|sonnet)-4-6/,
    off: 'left_out',
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

/** Anthropic requires a limit on the reply. */
export function outputLimit(model: string, wanted: number | undefined): number {
  return Math.min(wanted ?? DEFAULT_OUTPUT_TOKENS, familyOf(model).maxOutputTokens)
}

/** The tokens of thinking that an effort means, in models that take a number. */
const BUDGETS: Readonly<Record<Exclude<Effort, 'none'>, number>> = {
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
export function thinkingOf(
  model: string,
  effort: Effort | undefined,
  maxTokens: number,
): ThinkingParams {
  const family = familyOf(model)
  if (effort === 'none') return withoutThinking(family)
  if (family.thinking === 'budget') {
    if (effort === undefined || family.efforts.length === 0) return {}
    const budget = Math.min(BUDGETS[effort], Math.floor(maxTokens / 2))
    return budget < MIN_BUDGET ? {} : { thinking: { type: 'enabled', budget_tokens: budget } }
  }
  return {
    // Without it, the newest models send their thoughts empty, and also what they say between calls.
    thinking: { type: 'adaptive', display: 'summarized' },
    ...(effort === undefined ? {} : { output_config: { effort: nearest(effort, family) } }),
  }
}

function withoutThinking({ off }: Family): ThinkingParams {
  switch (off) {
    case 'left_out':
      return {}
    case 'disabled':
      return { thinking: { type: 'disabled' } }
    case 'between_tools':
      return { thinking: { type: 'between_tools' }, output_config: { effort: 'low' } }
    case null:
      return {
        thinking: { type: 'adaptive', display: 'summarized' },
        output_config: { effort: 'low' },
      }
  }
}

function nearest(effort: Exclude<Effort, 'none'>, { efforts }: Family) {
  if (effort === 'minimal') return 'low'
  return efforts.includes(effort) ? effort : 'high'
}
