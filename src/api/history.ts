import * as z from 'zod'
import { ChangedFile } from '../domain/file-changes.ts'
import { ResultImage } from '../domain/records.ts'

/** GET /api/runs/{run_id}/diff: what changed between two records. */
export const RunDiff = z
  .object({
    run_id: z.uuid(),
    from: z.int(),
    to: z.int(),
    changes: z
      .array(z.object({ field: z.string(), old: z.unknown(), new: z.unknown() }))
      .describe('Fields of the run details that differ, such as progress.iteration'),
    files: z.array(ChangedFile).describe('Files that calls of file tools name'),
  })
  .meta({ id: 'RunDiff' })
export type RunDiff = z.infer<typeof RunDiff>

/** A message as the model gets it. */
export const SentMessage = z
  .discriminatedUnion('role', [
    z.object({ role: z.enum(['system', 'user']), content: z.string() }),
    z.object({
      role: z.literal('assistant'),
      content: z.string().nullable(),
      tool_calls: z.array(
        z.object({ call_id: z.string(), tool: z.string(), args: z.string().describe('JSON text') }),
      ),
    }),
    z.object({
      role: z.literal('tool'),
      call_id: z.string(),
      content: z.string(),
      image: z
        .object({ ...ResultImage.unwrap().shape, sha256: z.string(), bytes: z.int() })
        .exactOptional()
        .describe('The image that the result holds: an artifact of the run'),
    }),
  ])
  .meta({ id: 'SentMessage' })
export type SentMessage = z.infer<typeof SentMessage>

/** GET /api/runs/{run_id}/conversation: what the model was sent at a record. */
export const SentConversation = z
  .object({
    run_id: z.uuid(),
    model_name: z.string(),
    request: z
      .enum(['answered', 'under_way', 'not_sent'])
      .describe(
        '`answered`: this was sent, and the reply is in the log. `under_way`: the server is sending this, ' +
          'or was when the run or the server stopped. `not_sent`: this is what the model would get now',
      ),
    as_of: z.int().describe('seq of the last record that is in the messages'),
    answered_by: z.int().nullable().describe('seq of the assistant_message that replies'),
    messages: z.array(SentMessage),
    omitted_turns: z
      .int()
      .describe('How many of the first turns were omitted to fit the context budget'),
    tools: z
      .array(
        z.object({
          name: z.string(),
          description: z.string(),
          parameters: z.record(z.string(), z.unknown()).describe('JSON Schema'),
        }),
      )
      .describe('The tools of this version of the server; the log does not hold them'),
  })
  .meta({ id: 'SentConversation' })
export type SentConversation = z.infer<typeof SentConversation>
