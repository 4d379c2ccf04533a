import type { MessageCreateParamsStreaming } from '@anthropic-ai/sdk/resources/messages'
import type { Effort } from '../model.ts'

type ThinkingParams = Pick<MessageCreateParamsStreaming, 'thinking' | 'output_config'>

/** How a family of models thinks. `off` is what turns it off; null if nothing does. */
type Family = {
  readonly name: RegExp
  readonly thinking: 'adaptive' | 'budget'
  readonly off: 'between_tools' | 'disabled' | 'left_out' | null
  /** The efforts that it accepts. */
  readonly efforts: readonly Exclude<Effort, 'none' | 'minimal'>[]
  readonly maxOutputTokens: number
}

const ALL_EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'] as const
const ADAPTIVE = { thinking: 'adaptive', efforts: ALL_EFFORTS, maxOutputTokens: 128_000 } as const

/** The first that fits is the one. A model that is not known is newer than this list. */
const FAMILIES: readonly Family[] = [
  { ...ADAPTIVE, name: /^claude-sonnet-5-5/, off: 'between_tools' },
  { ...ADAPTIVE, name: /^claude-(haiku-5-5|sonnet-5|opus-5)(?!-5)/, off: 'disabled' },
  { ...ADAPTIVE, name: /^claude-opus-4-[78]/, off: 'left_out' },
  {
    ...ADAPTIVE,
    name: /^claude-(opus|sonnet)-4-6/,
    off: 'left_out',
    efforts: ['low', 'medium', 'high'],
    maxOutputTokens: 64_000,
  },
  {
    name: /^claude-(opus-4-5|sonnet-4|haiku-4|3-7-sonnet)/,
    thinking: 'budget',
    off: 'left_out',
    efforts: [],
    maxOutputTokens: 64_000,
  },
  {
    name: /^claude-opus-4/,
    thinking: 'budget',
    off: 'left_out',
    efforts: [],
    maxOutputTokens: 32_000,
  },
  {
    name: /^claude-(3|2|instant)/,
    thinking: 'budget',
    off: 'left_out',
    efforts: [],
    maxOutputTokens: 4_096,
  },
]
const NEWEST: Family = { ...ADAPTIVE, name: /./, off: null }

const familyOf = (model: string): Family => FAMILIES.find(({ name }) => name.test(model)) ?? NEWEST

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
    const budget = effort === undefined ? 0 : Math.min(BUDGETS[effort], Math.floor(maxTokens / 2))
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
  return efforts.find((known) => known === effort) ?? (effort === 'minimal' ? 'low' : 'high')
}
