import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { AssistantMessage } from '../../domain/conversation.ts'
import type { RequestedCall } from '../../domain/records.ts'
import { issuesText } from '../../lib/issues-text.ts'
import { wellFormed } from '../../lib/well-formed.ts'
import type { Complaint } from './adapter.ts'

/** Deeper JSON could not be recorded, or not read again by every program that verifies a log. */
const MAX_DEPTH = 200

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

/** JSON that is nested too deeply counts as none. */
export function parseJson(text: string): Result<unknown, 'not_json'> {
  try {
    const value: unknown = JSON.parse(text)
    return isDeeper(value, MAX_DEPTH) ? err('not_json') : ok(value)
  } catch {
    return err('not_json')
  }
}

export const FIRST_NUMBER = 2

/**
 * `wanted`, or `wanted_2`, `wanted_3`, … if it is taken. Adds the returned name to `taken`.
 * @param taken the names, each with the number that the search for another one begins with: thousands may be equal
 */
export function distinct(wanted: string, taken: Map<string, number>): string {
  let candidate = wanted
  let next = taken.get(wanted) ?? FIRST_NUMBER
  for (; taken.has(candidate); next += 1) candidate = `${wanted}_${next}`
  taken.set(wanted, next)
  if (candidate !== wanted) taken.set(candidate, FIRST_NUMBER)
  return candidate
}

/** The text of a reply; null if there is none beside its calls. */
export const textOf = ({ content, calls }: AssistantMessage): string | null =>
  content?.trim() ? content : calls.length === 0 ? orNothing(null) : null

/** Some providers refuse a message without text. */
export function orNothing(content: string | null): string {
  return content?.trim() ? content : '(nothing)'
}

const JsonObject = z.record(z.string(), z.json())

/** A call as a provider reports it: the id may be missing, the arguments a JSON text or an object. */
export type ReportedCall = {
  readonly id: string | null
  readonly name: string
  readonly args: string | Readonly<Record<string, unknown>>
}

/** Gives every call an id that is unique in its reply. The same reply always gets the same ids. */
export function toRequestedCalls(calls: readonly ReportedCall[]): RequestedCall[] {
  const taken = new Map<string, number>()
  return calls.map(({ id, name, args }, index) => ({
    call_id: distinct(id?.trim() || `call_${index}`, taken),
    tool: name,
    ...readArguments(args),
  }))
}

function readArguments(written: ReportedCall['args']): Pick<RequestedCall, 'args' | 'raw_args'> {
  if (typeof written === 'string' && written.trim() === '') return { args: {} }
  const json = typeof written === 'string' ? parseJson(written).unwrapOr(null) : written
  const parsed = JsonObject.safeParse(json)
  // A tool must get what the log will hold.
  if (parsed.success) return { args: wellFormed(parsed.data, JSON.stringify(parsed.data)) }
  return { args: {}, raw_args: typeof written === 'string' ? written : JSON.stringify(written) }
}

/** The complaint about a message that is not what its API describes. */
export const invalid = (error: z.ZodError): Result<never, Complaint> =>
  err({ type: 'invalid', what: issuesText(error) })

type Events<E> = z.ZodType<E> & {
  readonly options: readonly { readonly shape: { readonly type: z.ZodLiteral<string> } }[]
}
const Typed = z.object({ type: z.string() })

/** Reads the messages of a stream that name their type. Null for all that are not among `events`: new ones come. */
export function eventReader<E>(
  events: Events<E>,
): (message: unknown) => Result<E | null, Complaint> {
  const known = new Set<string>(events.options.flatMap(({ shape }) => [...shape.type.values]))
  return (message) => {
    const typed = Typed.safeParse(message)
    if (!typed.success) return message === '[DONE]' ? ok(null) : invalid(typed.error)
    if (!known.has(typed.data.type)) return ok(null)
    const event = events.safeParse(message)
    return event.success ? ok(event.data) : invalid(event.error)
  }
}
