import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { RequestedCall } from '../../domain/records.ts'
import type { ModelReply } from './model.ts'
import type { TokenUsage } from './prices.ts'

export function parseJson(text: string): Result<unknown, 'not_json'> {
  try {
    return ok(JSON.parse(text))
  } catch {
    return err('not_json')
  }
}

/** `wanted`, or `wanted_2`, `wanted_3`, … if it is taken. Adds the returned name to `taken`. */
export function distinct(wanted: string, taken: Set<string>): string {
  let candidate = wanted
  for (let n = 2; taken.has(candidate); n += 1) candidate = `${wanted}_${n}`
  taken.add(candidate)
  return candidate
}

const JsonObject = z.record(z.string(), z.json())

/** A tool call as endpoints report it: the id may be missing, the arguments text or an object. */
const ReportedCall = z.object({
  id: z.string().nullish().catch(null),
  function: z.object({
    name: z.string().min(1),
    arguments: z.union([z.string(), JsonObject]).nullish(),
  }),
})
type ReportedCall = z.infer<typeof ReportedCall>

/** Gives every call an id that is unique in its reply. The same reply always gets the same ids. */
function toRequestedCalls(calls: readonly ReportedCall[]): RequestedCall[] {
  const taken = new Set<string>()
  return calls.map(({ id, function: { name, arguments: written } }, index) => ({
    call_id: distinct(id?.trim() || `call_${index}`, taken),
    tool: name,
    ...readArguments(written ?? ''),
  }))
}

type Arguments = Pick<RequestedCall, 'args' | 'raw_args'>

function readArguments(written: string | z.infer<typeof JsonObject>): Arguments {
  if (typeof written !== 'string') return { args: written }
  if (written.trim() === '') return { args: {} }
  const parsed = JsonObject.safeParse(parseJson(written).unwrapOr(null))
  return parsed.success ? { args: parsed.data } : { args: {}, raw_args: written }
}

const Part = z.union([
  z.string(),
  z.object({ type: z.literal('text'), text: z.string() }).transform(({ text }) => text),
  // Thoughts, images and other parts of a provider.
  z.unknown().transform(() => ''),
])
const Content = z
  .union([z.string(), z.array(Part).transform((parts) => parts.join(''))])
  .nullish()
  .transform((text) => (text?.trim() ? text : null))

const tokens = z.number().nonnegative().transform(Math.round)
const Usage = z.object({
  prompt_tokens: tokens,
  completion_tokens: tokens.catch(0),
  total_tokens: tokens.catch(0),
  prompt_tokens_details: z
    .object({ cached_tokens: tokens.catch(0) })
    .nullish()
    .catch(null),
})

const Choice = z.object({
  message: z.object({
    content: Content,
    refusal: Content.catch(null),
    tool_calls: z.array(ReportedCall).nullish(),
  }),
  finish_reason: z.string().nullish(),
})

const FirstChoice = z.array(Choice).transform(([first], context) => {
  if (first !== undefined) return first
  context.addIssue('it has no choices')
  return z.NEVER
})

/** The parts of a chat completion that are read. Others are ignored: endpoints add many. */
export const Completion = z.object({
  choices: FirstChoice,
  usage: Usage.nullish().catch(null),
})
type Completion = z.infer<typeof Completion>

/** The reply and the usage of a completion, without a price. */
export function readCompletion(
  { choices: choice, usage }: Completion,
  request: unknown,
): { readonly reply: Omit<ModelReply, 'costUsd'>; readonly usage: TokenUsage } {
  const { message, finish_reason } = choice
  const text = message.content ?? message.refusal
  const toolCalls = toRequestedCalls(message.tool_calls ?? [])
  const used = usage ? reported(usage) : estimated(request, { text, toolCalls })
  const { inputTokens, outputTokens } = used
  const finishReason = finish_reason || (toolCalls.length > 0 ? 'tool_calls' : 'stop')
  return { reply: { text, toolCalls, finishReason, inputTokens, outputTokens }, usage: used }
}

function reported(usage: z.infer<typeof Usage>): TokenUsage {
  return {
    inputTokens: usage.prompt_tokens,
    cachedInputTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
    // Some providers bill thinking in the total only.
    outputTokens: Math.max(usage.completion_tokens, usage.total_tokens - usage.prompt_tokens),
  }
}

/** Estimates the usage if the endpoint reports none, about four characters per token, so that limits still apply. */
function estimated(request: unknown, answer: unknown): TokenUsage {
  const estimate = (value: unknown) => Math.ceil(JSON.stringify(value).length / 4)
  return {
    inputTokens: estimate(request),
    cachedInputTokens: 0,
    outputTokens: estimate(answer),
  }
}
