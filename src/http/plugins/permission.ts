import type { FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import * as z from 'zod'
import { type Permission, rolesThatMay } from '../../api/auth.ts'
import type { ProblemCode } from '../../api/problems.ts'
import { problems, withProblems } from '../problems/problem.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The permission that a caller needs. Every route under /api names one. */
    needs?: Permission
  }
}

/** Fails the start if a route under /api names no permission, so that no route is open by mistake. */
export const requirePermissions = fp(
  async (app) => {
    app.addHook('onRoute', ({ url, method, config }) => {
      if (config?.needs === undefined && /^\/api(\/|$)/.test(url)) {
        throw new Error(`the route ${String(method)} ${url} names no permission`)
      }
    })
  },
  { name: 'permissions' },
)

/** The problems that any request can have before a route handles it, or without a route. */
const ANYWHERE = [
  'bad_request',
  'foreign_host',
  'foreign_origin',
  'request_timeout',
  'expectation_failed',
  'headers_too_large',
  'internal',
] as const satisfies readonly ProblemCode[]

/** The problems of routes that authenticate callers and record accesses. */
const GUARDED = [
  'unauthenticated',
  'forbidden',
  'tokens_unread',
  'store_unavailable',
] as const satisfies readonly ProblemCode[]

/** The description of a route, with the roles that may use it and the problems that any request can have. */
export function describeAccess(
  schema: FastifySchema,
  url: string,
  needs: Permission | undefined,
): FastifySchema {
  const described = z.record(z.string(), z.unknown()).optional().parse(schema.response) ?? {}
  const further = problems(
    ...ANYWHERE,
    ...(needs === undefined ? [] : GUARDED),
    // An address that cannot be decoded is answered as unknown.
    ...(url.includes(':') ? (['not_found'] as const) : []),
    ...(schema.querystring === undefined ? [] : (['invalid_request'] as const)),
  )
  const response = withProblems(described, further)
  if (needs === undefined) return { ...schema, response }
  const roles = `Roles: ${rolesThatMay(needs).join(', ')} (permission \`${needs}\`).`
  const description = schema.description === undefined ? roles : `${schema.description}\n\n${roles}`
  return { ...schema, description, response }
}
