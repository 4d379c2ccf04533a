import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { Err, Ok, type Result, type ResultAsync } from 'neverthrow'
import type * as z from 'zod'
import { type Permission, rolesThatMay } from '../api/auth.ts'
import { CATALOGUE, ProblemDocument } from '../api/problems.ts'
import { RunParams } from '../api/run-requests.ts'
import { present } from '../domain/present.ts'
import { isPassing, sendProblem } from './problems/problem.ts'
import { problemOf, type Refusal } from './problems/problem-of.ts'

/** An answer with content, by its media type. */
type Described<S extends z.ZodType, T extends string> = {
  readonly description: string
  readonly content: Readonly<Record<T, { readonly schema: S }>>
}
type Answers = Readonly<Record<number, z.ZodType | Described<z.ZodType, string>>>

/** What a handler may return as JSON: what the schema of one of the answers describes. */
type Json<A extends Answers> = {
  [Status in keyof A]: A[Status] extends Described<infer S, 'application/json'>
    ? Readonly<z.output<S>>
    : never
}[keyof A]

type Asked<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> = FastifyRequest<{
  Params: z.output<P>
  Querystring: z.output<Q>
  Body: z.output<B>
}>

/** What is sent: JSON, or a reply that the handler sends itself. */
type Sent<A extends Answers> = Json<A> | FastifyReply
type Handled<A extends Answers> = Sent<A> | Result<Sent<A>, Refusal>

type Route = Pick<
  RouteOptions,
  'bodyLimit' | 'exposeHeadRoute' | 'preValidation' | 'attachValidation' | 'wsHandler'
>

/** What a client can do at one address: how it is described, and what carries it out. */
type Operation<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  A extends Answers,
> = Route & {
  /** The permission that a caller needs; null if everybody may do it. */
  readonly needs: Permission | null
  /** Its name in the description of the API, and in the access log. */
  readonly id: string
  readonly tag: string
  readonly summary: string
  readonly description?: string
  /** Without it: the id of the run, if the address has one. */
  readonly params?: P
  readonly query?: Q
  readonly headers?: z.ZodType
  readonly body?: B
  /** By status. */
  readonly answers: A
  readonly handle: (
    request: Asked<P, Q, B>,
    reply: FastifyReply,
  ) => Handled<A> | Promise<Handled<A>> | ResultAsync<Sent<A>, Refusal>
}

/** Adds a route of the API. @param at its method and its address, such as `GET /api/runs/:run_id` */
export function operation<
  A extends Answers,
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
>(app: FastifyInstance, at: string, described: Operation<P, Q, B, A>): void {
  const { needs, id, tag, summary, answers, handle, ...rest } = described
  const [method = '', url = ''] = at.split(' ')
  const ofRun = url.includes('/:run_id') ? RunParams : undefined
  const { description, params = ofRun, query, headers, body, ...route } = rest
  const options: RouteOptions = {
    ...route,
    method,
    url,
    ...(needs !== null && { config: { needs } }),
    schema: {
      operationId: id,
      tags: [tag],
      summary,
      ...(needs === null && { security: [] }),
      ...present({ description: withRoles(description, needs) }),
      ...present({ params, querystring: query, headers, body }),
      response: { ...answers, default: PROBLEM },
    },
    handler: async (request, reply): Promise<unknown> => {
      const done = await handle(request as Asked<P, Q, B>, reply)
      if (!(done instanceof Ok || done instanceof Err)) return done
      return done.isOk() ? done.value : refuse(request, reply, done.error)
    },
  }
  app.route(options)
}

const PROBLEM = {
  description: 'A problem: the description of the API lists them all',
  content: { 'application/problem+json': { schema: ProblemDocument } },
}

/** Answers with a problem. One that the client did not cause is logged. */
function refuse(request: FastifyRequest, reply: FastifyReply, error: Refusal) {
  const problem = problemOf(error)
  const [status] = CATALOGUE[problem.code]
  const { operationId: operation } = request.routeOptions.schema ?? {}
  if (status >= 500) {
    const level = isPassing(status) ? 'warn' : 'error'
    const fields = { error, operation, run_id: request.runId || undefined }
    request.log[level](fields, 'a request was not carried out')
  }
  return sendProblem(request, reply, problem)
}

/** A response with a description. */
export const described = <S extends z.ZodType, T extends string = 'application/json'>(
  description: string,
  schema: S,
  type = 'application/json' as T,
): Described<S, NoInfer<T>> => ({
  description,
  content: { [type]: { schema } } as Record<T, { schema: S }>,
})

function withRoles(description: string | undefined, needs: Permission | null): string | undefined {
  if (needs === null) return description
  const roles = `Roles: ${rolesThatMay(needs).join(', ')} (permission \`${needs}\`).`
  return description === undefined ? roles : `${description}\n\n${roles}`
}
