import type { FastifyRequest } from 'fastify'
import * as z from 'zod'
import { RunId } from '../../api/run-id.ts'
import type { Access } from '../../audit/access-log/access-windows.ts'
import { sha256 } from '../../lib/sha256.ts'

/** Written down of what was asked at most, characters; of more, the beginning and a hash of the whole. */
const MAX_ASKED = 300
const HASH_DIGITS = 32

const Params = z.record(z.string(), z.string()).catch({})

type WhoAndWhat = Pick<Access, 'run_id' | 'principal' | 'client' | 'operation' | 'asked'>

/** Who asks for what, as the access log keeps it. */
export function whoAndWhat(request: FastifyRequest): WhoAndWhat {
  const { caller, ip: client, routeOptions } = request
  const { run_id: given, ...params } = Params.parse(request.params)
  return {
    run_id: RunId.safeParse(given).data ?? null,
    principal: caller?.principal ?? null,
    client,
    operation: routeOptions.schema?.operationId ?? '',
    asked: askedOf(request, params),
  }
}

/** Only what the route has looked at: anything else may be a secret that stands there by mistake. */
function askedOf({ routeOptions, url }: FastifyRequest, params: Record<string, string>): string {
  const asked = new URLSearchParams(params)
  if (routeOptions.schema?.querystring !== undefined && url.includes('?')) {
    for (const [name, value] of new URLSearchParams(url.slice(url.indexOf('?')))) {
      if (name !== 'ticket') asked.append(name, value)
    }
  }
  const text = asked.toString()
  if (text.length <= MAX_ASKED) return text
  const hash = sha256(text).slice(0, HASH_DIGITS)
  return `${text.slice(0, MAX_ASKED - HASH_DIGITS - 1)}#${hash}`
}
