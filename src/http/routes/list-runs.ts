import * as z from 'zod'
import { RunSummary } from '../../api/runs.ts'
import { RUN_STATUSES } from '../../domain/state.ts'
import type { RunPage } from '../../projections/read-model.ts'
import type { AppDeps } from '../deps.ts'
import { problems, sendInvalid } from '../problems/problem.ts'
import { jsonOnce, sendJson } from '../ready-json.ts'
import type { ZodApp } from '../zod-app.ts'

const RunQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().optional().describe('From the Link header of the page before'),
  status: z.enum(RUN_STATUSES).optional(),
  goal: z.string().optional(),
})

const RunList = z.array(RunSummary).meta({
  description:
    'One page. Where there are more, the Link header holds the address of the next: `<…>; rel="next"`.',
  examples: [
    [
      {
        run_id: '550e8400-e29b-41d4-a716-446655440000',
        goal: 'pytest',
        status: 'achieved',
        created_at: '2026-02-18T12:00:00.000Z',
      },
    ],
  ],
})

const rowsOf = jsonOnce(({ runs }: RunPage) => runs)

/** GET /api/runs */
export function listRuns(app: ZodApp, { readModel }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listRuns',
      tags: ['runs'],
      summary: 'List runs, newest first',
      querystring: RunQuery,
      response: { 200: RunList, ...problems('invalid_request') },
    },
    handler: async (request, reply) => {
      const page = readModel.list(request.query)
      if (page === null) {
        const message = 'cursor is not one of this list. Take it from the Link header of a page.'
        return sendInvalid(request, reply, [{ field: 'cursor', message }])
      }
      const link = linkOf(page, request.query)
      if (link !== null) reply.header('link', link)
      return sendJson(reply, rowsOf(page))
    },
  })
}

/** By page, since the read model hands out the same one for the same query, and for no other. */
const links = new WeakMap<RunPage, string>()

/** The Link header of a page; null on the last. */
function linkOf(page: RunPage, query: z.infer<typeof RunQuery>): string | null {
  if (page.next === null) return null
  const link = links.get(page) ?? nextLink(query, page.next)
  links.set(page, link)
  return link
}

function nextLink(query: z.infer<typeof RunQuery>, cursor: string): string {
  const { limit, status, goal } = query
  const next = new URLSearchParams({ limit: String(limit), cursor })
  if (status !== undefined) next.set('status', status)
  if (goal !== undefined) next.set('goal', goal)
  return `</api/runs?${next}>; rel="next"`
}
