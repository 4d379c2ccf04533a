import * as z from 'zod'
import type { Goal, RunRequest } from '../../../src/client/index.ts'

let made = 0

/** A name for an item of a list. Each is used once while the page is open. */
export const newId = (): string => {
  made += 1
  return String(made)
}

/** What the form reads of a JSON Schema. Anything else in it is left to the server. */
export const ValueSchema = z.object({
  type: z.string().optional(),
  description: z.string().optional(),
  enum: z.array(z.string()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  required: z.array(z.string()).optional(),
  get properties() {
    return z.record(z.string(), ValueSchema).optional()
  },
  get items() {
    return ValueSchema.optional()
  },
})
export type ValueSchema = z.infer<typeof ValueSchema>

/** How a value is entered. `lines`: names and texts, one pair a line; `rows`: objects, one below the other. */
export type ValueKind = 'number' | 'choice' | 'lines' | 'rows' | 'text'

export function kindOf({ type, enum: choices, items }: ValueSchema): ValueKind {
  if (choices !== undefined) return 'choice'
  if (type === 'number' || type === 'integer') return 'number'
  if (type === 'array' && items?.properties !== undefined) return 'rows'
  return type === 'object' ? 'lines' : 'text'
}

/** A value as it is entered. Empty: ''. */
export type ValueDraft = string | number | readonly RowDraft[]
export type ObjectDraft = { readonly [name: string]: ValueDraft }
export type RowDraft = { readonly id: string; readonly values: ObjectDraft }

/** One goal as it is filled in. */
export type PartDraft = {
  readonly id: string
  readonly goal: string
  /** A command instead of the command of the goal. Empty: there is no such command. */
  readonly check: string
  readonly exit_code: number | string
  readonly output_contains: string
  readonly max_seconds: number | string
  readonly options: ObjectDraft
}

export const emptyPart = (): PartDraft => ({
  ...{ id: newId(), goal: '', check: '', exit_code: '', output_contains: '', max_seconds: '' },
  options: {},
})

type RequestedPart = Pick<RunRequest, 'goal' | 'check' | 'goal_options'>

/** The goals in the form of the request. A goal alone is not in a list. */
export function goalsOf(
  parts: readonly PartDraft[],
  goals: readonly Goal[],
): Pick<RunRequest, 'goal' | 'check' | 'goal_options' | 'all_of'> {
  const [only, ...others] = parts.map((part) =>
    partOf(
      part,
      goals.find(({ name }) => name === part.goal),
    ),
  )
  if (only === undefined || others.length === 0) return only ?? {}
  return { all_of: [only, ...others] }
}

/** The field of the request that has this part of a goal. */
export const fieldOf = (parts: readonly PartDraft[], index: number, inner: string): string =>
  parts.length === 1 ? inner : `all_of.${index}.${inner}`

function partOf(part: PartDraft, goal: Goal | undefined): RequestedPart {
  const options = objectOf(
    Object.fromEntries((goal?.options ?? []).map(({ name, schema }) => [name, schema])),
    part.options,
  )
  return {
    ...(part.goal === '' ? {} : { goal: part.goal }),
    ...checkOf(part),
    // The server checks the options, and names each that is wrong.
    ...(options === undefined ? {} : { goal_options: options as RunRequest['goal_options'] & {} }),
  }
}

function checkOf({ check, exit_code, output_contains, max_seconds }: PartDraft) {
  const command = check.trim()
  if (command === '') return {}
  const isPlain = exit_code === '' && output_contains === '' && max_seconds === ''
  if (isPlain) return { check: { command } }
  // A person who names an output or a time still expects that the command succeeds.
  const conditions = {
    exit_code: Number(exit_code),
    ...(output_contains === '' ? {} : { output_contains }),
    ...(max_seconds === '' ? {} : { max_seconds: Number(max_seconds) }),
  }
  return { check: { command, conditions } }
}

/** Undefined if nothing is filled in. */
function objectOf(schemas: Readonly<Record<string, unknown>>, draft: ObjectDraft) {
  const values = Object.entries(schemas).flatMap(([name, schema]) => {
    const value = enteredValue(schemaOf(schema), draft[name] ?? '')
    return value === undefined ? [] : [[name, value] as const]
  })
  return values.length === 0 ? undefined : Object.fromEntries(values)
}

/** The schema of a value; any text if there is none that the form can read. */
export const schemaOf = (schema: unknown): ValueSchema => ValueSchema.safeParse(schema).data ?? {}

/** The value that was entered; undefined if nothing was. */
function enteredValue(schema: ValueSchema, draft: ValueDraft): unknown {
  if (draft === '') return undefined
  if (typeof draft === 'object') {
    const rows = draft.map(({ values }) => objectOf(schema.items?.properties ?? {}, values) ?? {})
    return rows.length === 0 ? undefined : rows
  }
  switch (kindOf(schema)) {
    case 'number':
      return Number(draft)
    case 'lines':
      return Object.fromEntries(String(draft).split('\n').filter(Boolean).map(pairOf))
    default:
      return String(draft)
  }
}

function pairOf(line: string): readonly [string, string] {
  const colon = line.indexOf(':')
  return colon === -1
    ? [line.trim(), '']
    : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()]
}
