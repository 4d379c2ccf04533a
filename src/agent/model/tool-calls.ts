import * as z from 'zod'
import type { RequestedCall } from '../../domain/records.ts'
import { distinct } from './distinct.ts'
import { parseJson } from './json.ts'

const JsonObject = z.record(z.string(), z.json())

/** A tool call as endpoints report it: the id may be missing, the arguments text or already an object. */
export const ReportedCall = z.object({
  id: z.string().nullish().catch(null),
  function: z.object({
    name: z.string().min(1),
    arguments: z.union([z.string(), JsonObject]).nullish(),
  }),
})
type ReportedCall = z.infer<typeof ReportedCall>

/** Gives every call an id that is unique in its reply; the same reply always gets the same ids. */
export function toRequestedCalls(calls: readonly ReportedCall[]): RequestedCall[] {
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
