import { isUtf8 } from 'node:buffer'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifySchemaCompiler,
  preValidationHookHandler,
} from 'fastify'
import * as z from 'zod'
import { RunId } from '../../api/fields.ts'
import type { FieldProblem, Problem } from '../../api/problems.ts'
import type { Idempotency } from '../../domain/records.ts'
import { sha256 } from '../../lib/sha256.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { AppDeps } from '../deps.ts'
import { ProblemError, sendProblem } from '../problems/problem.ts'
import { invalidField, invalidFields, removedProblem } from '../problems/problem-of.ts'

type Issue = z.core.$ZodIssue

/** Validates with zod, and names everything that is wrong, field by field. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  return (data: unknown) => {
    const parsed = schema.safeParse(data ?? undefined, { reportInput: true })
    if (parsed.success) return { value: parsed.data }
    const wrong = problemsOf(parsed.error.issues, httpPart ?? 'body')
    return { error: new ProblemError(invalidFields(wrong)) }
  }
}

/** @param whole the name of the part of the request, for problems of the part as a whole */
function problemsOf(issues: readonly Issue[], whole: string): FieldProblem[] {
  return issues.flatMap((issue) => {
    const inner = issue.code === 'invalid_union' ? meantBranch(issue) : null
    if (inner !== null) return problemsOf(inner, whole)
    const field = issue.path.map(String).join('.') || whole
    if (issue.code !== 'unrecognized_keys') return [{ field, message: `${field} ${why(issue)}.` }]
    return issue.keys.map((key) => {
      const name = [...issue.path.map(String), key].join('.')
      return { field: name, message: `${name} is not a field of this request.` }
    })
  })
}

/** The problems of the one form of a union that the value has; null if it has none of them, or could have several. */
function meantBranch({ errors, path }: z.core.$ZodIssueInvalidUnion): readonly Issue[] | null {
  const [meant, ...others] = errors.filter((issues) => issues.every((issue) => !isOtherForm(issue)))
  if (meant === undefined || others.length > 0) return null
  return meant.map((issue) => ({ ...issue, path: [...path, ...issue.path] }))
}

/** Whether the value as a whole is of another type than the form. */
const isOtherForm = ({ code, path }: Issue): boolean =>
  path.length === 0 && (code === 'invalid_type' || code === 'invalid_value')

function why(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${named(issue.expected)}`
    case 'too_small':
      if (issue.origin === 'string' || issue.origin === 'array') {
        if (issue.minimum === 1) return 'must not be empty'
        const unit = issue.origin === 'string' ? 'characters' : 'items'
        return `must have at least ${issue.minimum} ${unit}`
      }
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`
    case 'too_big':
      if (issue.origin === 'string') return `must not be longer than ${issue.maximum} characters`
      if (issue.origin === 'array') return `must have at most ${issue.maximum} items`
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

declare module 'fastify' {
  interface FastifyRequest {
    /** The run that the address names, in lower case. Only under /api/runs/{run_id}. */
    runId: string
  }
}

/** Refuses an address under /api/runs/{run_id} whose id is not a UUID, or that of a run which was removed: there is no such run. */
export function readRunIds(app: FastifyInstance, retention: AppDeps['retention']): void {
  app.decorateRequest('runId', '')
  app.addHook('onRoute', (route) => {
    if (!route.url.startsWith('/api/runs/:run_id')) return
    // After validation, so that fields that are not valid are reported first.
    route.preHandler = [readRunId(retention), ...[route.preHandler ?? []].flat()]
  })
}

const OfRun = z.object({ run_id: z.string().toLowerCase() })

const readRunId =
  (retention: AppDeps['retention']) =>
  (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
    const { run_id } = OfRun.parse(request.params)
    const isWhole = RunId.safeParse(run_id).success
    // People write the beginning of an id; that of a removed run is in no list.
    const removal = isWhole ? retention.removalOf(run_id) : retention.removalBeginning(run_id)
    if (!isWhole || removal !== undefined) {
      const problem = removal ? removedProblem(removal) : ({ code: 'run_not_found' } as const)
      void sendProblem(request, reply, problem)
      return
    }
    request.runId = run_id
    done()
  }

/** The headers of a request that may have a name. */
export const Named = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'must have 1 to 255 printable ASCII characters without blanks')
    .optional()
    .describe(
      'A name for this request: if a client sends the request again, it is carried out only once',
    ),
})

const names = new WeakMap<FastifyRequest, Idempotency>()

/**
 * Reads the name of a request, so that a client can safely send it again: before defaults are filled in, so that it belongs
 * to what the client sent. Only the log remembers names, so they hold across restarts and for all servers on one store.
 */
export const readName: preValidationHookHandler = (request, _reply, done) => {
  const { headers, body } = request
  const key = headers['idempotency-key']
  if (typeof key === 'string') {
    const request_sha256 = sha256(body === undefined ? '' : canonicalText(withoutHidden(body)))
    names.set(request, { key, request_sha256 })
  }
  done()
}

/** The log shows the hash to everybody, so it must not cover what only admins may know. */
const withoutHidden = (body: unknown): unknown =>
  typeof body === 'object' && body !== null && 'accept' in body
    ? { ...body, accept: undefined }
    : body

/** What the log keeps of a named request; undefined without a name. */
export const nameOf = (request: FastifyRequest): Idempotency | undefined => names.get(request)

/** No body of this API needs more than three levels. */
const MAX_DEPTH = 64

/**
 * Accepts only bodies that are declared as JSON: a browser does not send these to another origin without asking first.
 * An empty body counts as none. A body that is not UTF-8 is refused, because the log would hold a different text.
 */
export function acceptJsonOnly(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (request, body, done) => {
      if (body.length === 0) return done(null, undefined)
      const unread = unreadable(request, body)
      if (unread !== null) return done(new ProblemError(unread))
      void parseJson(request, body.toString(), (error, parsed) => {
        if (error) return done(error)
        try {
          done(null, sound(parsed, '', 0))
        } catch (refused) {
          done(refused instanceof Error ? refused : new Error(String(refused)))
        }
      })
    },
  )
}

/** Why a body cannot be read as text; null if it can. */
function unreadable({ headers }: FastifyRequest, body: Buffer): Problem | null {
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') {
    const detail = `The body is sent with Content-Encoding: ${encoding}. Send it as it is.`
    return { code: 'unsupported_media_type', detail }
  }
  if (isUtf8(body)) return null
  return { code: 'malformed_json', detail: 'The body is not valid UTF-8. Send its text as UTF-8.' }
}

/**
 * JSON that the rest of the server can hash, and walk with recursive functions. Halves of surrogate pairs, which
 * UTF-8 cannot hold, are replaced as in the log.
 * @throws ProblemError for a number that JavaScript reads as infinite, and if the nesting is too deep
 */
function sound(value: unknown, field: string, depth: number): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (typeof value === 'number' && !Number.isFinite(value)) {
    const name = field || 'body'
    throw new ProblemError(invalidField(name, `${name} is a number that is too large.`))
  }
  if (typeof value !== 'object' || value === null) return value
  if (depth === MAX_DEPTH) {
    const detail = `The body is nested more than ${MAX_DEPTH} levels deep. Send less.`
    throw new ProblemError({ code: 'malformed_json', detail })
  }
  const inner = (name: string | number, item: unknown) =>
    sound(item, field === '' ? `${name}` : `${field}.${name}`, depth + 1)
  if (Array.isArray(value)) return value.map((item, index) => inner(index, item))
  const entries = Object.entries(value)
  return Object.fromEntries(entries.map(([name, item]) => [name.toWellFormed(), inner(name, item)]))
}
