import type { FastifySchemaCompiler } from 'fastify'
import type { z } from 'zod'
import type { FieldProblem } from '../problems/problem.ts'

type Issue = z.core.$ZodIssue

/** A part of a request that does not fit its schema: all that is wrong with it, field by field. */
export class InvalidInput extends Error {
  override readonly name = 'InvalidInput'
  readonly statusCode = 422
  readonly problems: readonly FieldProblem[]

  constructor(problems: readonly FieldProblem[]) {
    super(problems.map((problem) => problem.message).join(' '))
    this.problems = problems
  }
}

/** Validates with zod and tells every problem in a sentence. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  return (data: unknown) => {
    const parsed = schema.safeParse(data ?? undefined, { reportInput: true })
    if (parsed.success) return { value: parsed.data }
    return { error: new InvalidInput(problemsOf(parsed.error.issues, httpPart ?? 'body')) }
  }
}

/** @param whole what to call the thing itself, where it is wrong as a whole */
function problemsOf(issues: readonly Issue[], whole: string): FieldProblem[] {
  return issues.flatMap((issue) => {
    const field = issue.path.map(String).join('.') || whole
    if (issue.code !== 'unrecognized_keys') return [{ field, message: `${field} ${why(issue)}.` }]
    return issue.keys.map((key) => {
      const name = [...issue.path.map(String), key].join('.')
      return { field: name, message: `${name} is not a field of this request.` }
    })
  })
}

function why(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${named(issue.expected)}`
    case 'too_small':
      if (issue.origin === 'string') return 'must not be empty'
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`
    case 'too_big':
      if (issue.origin === 'string') return `must not be longer than ${issue.maximum} characters`
      return `must be ${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}`
    case 'invalid_value':
      return issue.input === undefined
        ? `is required: ${oneOf(issue.values)}`
        : `must be ${oneOf(issue.values)}`
    default:
      return issue.message
  }
}

const oneOf = (values: readonly unknown[]): string => {
  return values.map((value) => JSON.stringify(value)).join(' or ')
}

const NAMES: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  object: 'a JSON object',
}
const named = (expected: string): string => NAMES[expected] ?? `of type ${expected}`
