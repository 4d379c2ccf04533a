import type { FastifyInstance, FastifySchema } from 'fastify'
import { z } from 'zod'
import { type Permission, rolesThatMay } from '../access/roles.ts'
import { problems } from './problem.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a caller needs to be let in; every route under /api says it. */
    needs?: Permission
  }
}

/** Fails the start where a route under /api does not say what it needs, so that none is open by mistake. */
export function insistOnPermissions(app: FastifyInstance): void {
  app.addHook('onRoute', ({ url, method, config }) => {
    if (config?.needs === undefined && /^\/api(\/|$)/.test(url)) {
      throw new Error(`the route ${String(method)} ${url} names no permission`)
    }
  })
}

/** The description of a route, with who may use it and what others are told. */
export function describePermission(
  schema: FastifySchema,
  needs: Permission | undefined,
): FastifySchema {
  if (needs === undefined) return schema
  const roles = `Roles: ${rolesThatMay(needs).join(', ')} (permission \`${needs}\`).`
  const described = z.record(z.string(), z.unknown()).optional().parse(schema.response)
  return {
    ...schema,
    description: schema.description === undefined ? roles : `${schema.description}\n\n${roles}`,
    response: { ...problems('unauthenticated', 'forbidden'), ...described },
  }
}
