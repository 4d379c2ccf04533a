import type { FastifyInstance, FastifyRequest } from 'fastify'
import * as z from 'zod'
import {
  CreateWebhook,
  DeliveryView,
  NewWebhookView,
  TestedWebhook,
  WebhookView,
} from '../../api/webhooks.ts'
import type { AppDeps } from '../deps.ts'
import { startAfter } from '../live/cursor.ts'
import { described, operation } from '../operation.ts'
import { callerOf } from '../plugins/security.ts'
import { orProblem } from '../problems/problem-of.ts'

const Params = z.object({ id: z.string() })
const BASE = { needs: 'webhooks:manage', tag: 'webhooks' } as const

const CREATE = `
The server sends each record of these kinds to the address: which kind, run, seq and hash, and the status of the run after it,
never its content. A delivery is a POST, signed as Standard Webhooks defines it, and is received if the answer within 15 s is 2xx.
410 stops the webhook; everything else, redirects too, is tried again for 72 h, with pauses of 5 s to 1 h. Each record is delivered
at least once, with the same \`webhook-id\` at every try, and those of one run in their order. Only this answer holds the secret.
`

const by = (request: FastifyRequest): string => callerOf(request).principal

const found = orProblem({ code: 'webhook_not_found' })

/** Who is sent word of records. */
export function webhooks(app: FastifyInstance, { webhooks: all, ...deps }: AppDeps): void {
  operation(app, 'POST /api/webhooks', {
    ...BASE,
    id: 'createWebhook',
    summary: 'Have records sent to an address',
    description: CREATE,
    body: CreateWebhook,
    answers: { 201: described('The webhook, with its secret', NewWebhookView) },
    handle: (request, reply) => {
      const { url, kinds, run, from } = request.body
      const after = from === 'start' ? undefined : from === 'now' ? 'end' : from
      reply.code(201).header('cache-control', 'no-store')
      return startAfter(after, deps).andThen(({ cursor }) =>
        all.create({ url, kinds, run, from: cursor }, by(request)),
      )
    },
  })
  operation(app, 'GET /api/webhooks', {
    ...BASE,
    id: 'listWebhooks',
    summary: 'The webhooks of this server, and how far each is',
    answers: { 200: described('All webhooks, oldest first', z.array(WebhookView)) },
    handle: () => all.list(),
  })
  operation(app, 'GET /api/webhooks/:id', {
    ...BASE,
    id: 'getWebhook',
    summary: 'A webhook, and how far it is',
    params: Params,
    answers: { 200: described('The webhook', WebhookView) },
    handle: ({ params }) => found(all.get(params.id)),
  })
  operation(app, 'DELETE /api/webhooks/:id', {
    ...BASE,
    id: 'deleteWebhook',
    summary: 'Delete a webhook; what is pending is not sent',
    params: Params,
    answers: { 200: described('The webhook, as it was', WebhookView) },
    handle: (request) => all.delete(request.params.id, by(request)),
  })
  operation(app, 'POST /api/webhooks/:id/resume', {
    ...BASE,
    id: 'resumeWebhook',
    summary: 'Continue a webhook that has stopped, and try now what waits for another try',
    params: Params,
    answers: { 200: described('The webhook', WebhookView) },
    handle: (request) => all.resume(request.params.id, by(request)),
  })
  operation(app, 'POST /api/webhooks/:id/test', {
    ...BASE,
    id: 'testWebhook',
    summary: 'Send a delivery of the type `webhook_test`, without data, once',
    params: Params,
    answers: { 200: described('What came back', TestedWebhook) },
    handle: async ({ params }) => found(await all.test(params.id)),
  })
  operation(app, 'GET /api/webhooks/:id/deliveries', {
    ...BASE,
    id: 'listDeliveries',
    summary: 'The last 100 tries of a webhook, newest first',
    params: Params,
    answers: { 200: described('The tries', z.array(DeliveryView)) },
    handle: ({ params }) => found(all.tries(params.id)),
  })
}
