import type { FastifyInstance } from 'fastify'
import type { Permission } from '../access/roles.ts'

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
