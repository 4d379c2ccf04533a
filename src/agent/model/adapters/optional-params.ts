import * as z from 'zod'
import { type Adapter, HttpStatusError } from '../adapter.ts'

/** A parameter that a request can do without: its name in errors, and the body without it. */
export type OptionalParam = {
  readonly name: string
  /** What an endpoint writes if it names no parameter. */
  readonly refusal?: RegExp
  readonly without: (body: object) => object
}

const Refusal = z.object({ error: z.object({ param: z.string() }) })

/**
 * Sends bodies, and sends one again without an optional parameter if the endpoint refuses that. OpenAI refuses summaries
 * and streams to organizations that are not verified; older servers refuse what they do not know. What an endpoint has
 * refused is left out of the later requests, so that these begin with the same text.
 */
export function withOptional(
  params: readonly OptionalParam[],
  send: Adapter['send'],
): Adapter['send'] {
  const refused = new Map<string, Set<OptionalParam>>()
  return async (body, route, signal) => {
    const place = `${route.endpoint.baseUrl} ${route.model}`
    const known = refused.get(place) ?? new Set()
    refused.set(place, known)
    for (;;) {
      // Requests that are under way at the same time are refused for the same reason.
      const left = new Set(known)
      const reduced = [...left].reduce((shorter, { without }) => without(shorter), body)
      try {
        return await send(reduced, route, signal)
      } catch (cause) {
        const param = params.find((one) => !left.has(one) && isRefused(cause, one))
        if (param === undefined) throw cause
        known.add(param)
      }
    }
  }
}

/** Some endpoints name the parameter in a property, others only in their text. */
function isRefused(cause: unknown, { name, refusal: phrase }: OptionalParam): boolean {
  if (!(cause instanceof HttpStatusError) || ![400, 422].includes(cause.status)) return false
  const refusal = Refusal.safeParse({ error: cause.body })
  const wrapped = Refusal.safeParse(cause.body)
  const param = refusal.data?.error.param ?? wrapped.data?.error.param
  if (param !== undefined) return param === name
  const text = JSON.stringify(cause.body)
  return phrase?.test(text) ?? (name.includes('_') && text.includes(name))
}
