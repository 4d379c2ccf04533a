import * as z from 'zod'
import type { Kind } from '../domain/records.ts'

const attempt = z
  .int()
  .min(0)
  .describe('The seq of the last record before the request, call or check that it belongs to')
const common = { kind: z.literal('part'), run_id: z.uuid(), iteration: z.int(), attempt }
const piece = {
  offset: z.int().min(0).describe('How much of the part comes before `text`, in UTF-16 code units'),
  text: z.string(),
  partial: z.literal(true),
}

/** A piece of a text under way. It is not a record: it is not stored, and its record replaces it. */
export const PartFrame = z
  .discriminatedUnion('of', [
    z.object({ ...common, of: z.literal('text'), ...piece }).meta({ id: 'TextPart' }),
    z.object({ ...common, of: z.literal('reasoning'), ...piece }).meta({ id: 'ReasoningPart' }),
    z
      .object({
        ...common,
        of: z.literal('arguments'),
        call: z.int().min(0).describe('The place of the call in `tool_calls` of its reply'),
        tool: z.string(),
        ...piece,
      })
      .meta({ id: 'ArgumentsPart' }),
    z
      .object({
        ...common,
        of: z.literal('output'),
        call_id: z.string().nullable().describe('Of its call; null for the check of the goal'),
        ...piece,
      })
      .meta({ id: 'OutputPart' }),
  ])
  .meta({ id: 'PartFrame' })
export type PartFrame = Readonly<z.infer<typeof PartFrame>>

/** The parts of an attempt are over: records have replaced them, or they are withdrawn. It is not a record. */
export const PartsEnd = z
  .object({
    kind: z.literal('parts_end'),
    run_id: z.uuid(),
    attempt,
    outcome: z.enum(['recorded', 'withdrawn']),
  })
  .meta({ id: 'PartsEnd' })
export type PartsEnd = Readonly<z.infer<typeof PartsEnd>>

/** Records that may come between an attempt and its outcome. */
export const BETWEEN_PARTS: readonly Kind[] = [
  'llm_usage',
  'user_message',
  'run_config_changed',
  'network_connection',
  'guard_changed',
]

/** Whether a record of this kind replaces the parts of all attempts of its run with an earlier seq. */
export const replacesParts = (kind: Kind): boolean => !BETWEEN_PARTS.includes(kind)

/** Whether it holds the outcome of an attempt, so that its parts are recorded. */
export const recordsParts = (kind: Kind): boolean =>
  kind === 'assistant_message' || kind === 'tool_result' || kind === 'goal_check'
