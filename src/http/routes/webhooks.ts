import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import {
  CreateWebhook,
  DeliveryView,
  NewWebhookView,
  TestedWebhook,
  WebhookView,
} from '../../api/webhooks.ts'
import type { WebhookError, Webhooks } from '../../webhooks/webhooks.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { startAfter } from '../live/cursor.ts'
import { callerOf } from '../plugins/security.ts'
import {
  BODY_PROBLEMS,
  COMMAND_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { commandProblem, invalidField } from '../problems/problem-of.ts'

const Params = z.object({ id: z.string() })
const KNOWN = { config: { needs: 'webhooks:manage' as const } }
const about = (operationId: string, summary: string, description?: string) => ({
  ...{ operationId, tags: ['webhooks'], summary },
  ...(description === undefined ? {} : { description }),
})

const CREATE = `
The server sends each record of these kinds to the address: which kind, run, seq and hash, and the status of the run after it,
never its content. A delivery is a POST, signed as Standard Webhooks defines it, and is received if the answer within 15 s is 2xx.
410 stops the webhook; everything else, redirects too, is tried again for 72 h, with pauses of 5 s to 1 h. Each record is delivered
at least once, with the same \`webhook-id\` at every try, and those of one run in their order. Only this answer holds the secret.
`

type Deps = Pick<AppDeps, 'store' | 'readModel' | 'checkpoint'> & { readonly webhooks: Webhooks }

/** The routes of /api/webhooks. */
export function webhooks(app: ZodApp, deps: Deps): void {
  const { webhooks: all } = deps
  app.route({
    ...{ method: 'POST', url: '/api/webhooks', ...KNOWN },
    schema: {
      ...about('createWebhook', 'Have records sent to an address', CREATE),
      body: CreateWebhook,
      response: {
        201: described('The webhook, with its secret', NewWebhookView),
        ...problems('invalid_request', 'unknown_cursor', 'not_projected', ...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { url, kinds, run, from } = request.body
      const after = from === 'start' ? undefined : from === 'now' ? 'end' : from
      const start = await startAfter(after, deps)
      if (start.isErr()) return sendProblem(request, reply, start.error)
      const wanted = { url, kinds, run, from: start.value.cursor }
      reply.header('cache-control', 'no-store')
      const created = all.create(wanted, callerOf(request).principal).map((webhook) => {
        reply.code(201)
        return webhook
      })
      return answer(request, reply, created)
    },
  })
  app.route({
    ...{ method: 'GET', url: '/api/webhooks', ...KNOWN },
    schema: {
      ...about('listWebhooks', 'The webhooks of this server, and how far each is'),
      response: { 200: described('All webhooks, oldest first', z.array(WebhookView)) },
    },
    handler: async () => [...all.list()],
  })
  app.route({
    ...{ method: 'GET', url: '/api/webhooks/:id', ...KNOWN },
    schema: {
      ...about('getWebhook', 'A webhook, and how far it is'),
      params: Params,
      response: { 200: described('The webhook', WebhookView), ...problems('webhook_not_found') },
    },
    handler: async (request, reply) => found(request, reply, all.get(request.params.id)),
  })
  app.route({
    ...{ method: 'DELETE', url: '/api/webhooks/:id', ...KNOWN },
    schema: {
      ...about('deleteWebhook', 'Delete a webhook; what is pending is not sent'),
      params: Params,
      response: {
        200: described('The webhook, as it was', WebhookView),
        ...problems('webhook_not_found', ...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) =>
      answer(request, reply, all.delete(request.params.id, callerOf(request).principal)),
  })
  app.route({
    ...{ method: 'POST', url: '/api/webhooks/:id/resume', ...KNOWN },
    schema: {
      ...about(
        'resumeWebhook',
        'Continue a webhook that has stopped, and try now what waits for another try',
      ),
      params: Params,
      response: {
        200: described('The webhook', WebhookView),
        ...problems('webhook_not_found', ...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) =>
      answer(request, reply, all.resume(request.params.id, callerOf(request).principal)),
  })
  app.route({
    ...{ method: 'POST', url: '/api/webhooks/:id/test', ...KNOWN },
    schema: {
      ...about('testWebhook', 'Send a delivery of the type `webhook_test`, without data, once'),
      params: Params,
      response: {
        200: described('What came back', TestedWebhook),
        ...problems('webhook_not_found', ...BODY_PROBLEMS),
      },
    },
    handler: async (request, reply) => found(request, reply, await all.test(request.params.id)),
  })
  app.route({
    ...{ method: 'GET', url: '/api/webhooks/:id/deliveries', ...KNOWN },
    schema: {
      ...about('listDeliveries', 'The last 100 tries of a webhook, newest first'),
      params: Params,
      response: {
        200: described('The tries', z.array(DeliveryView)),
        ...problems('webhook_not_found'),
      },
    },
    handler: async (request, reply) => {
      const tries = all.tries(request.params.id)
      return found(request, reply, tries && [...tries])
    },
  })
}

const found = <T>(request: FastifyRequest, reply: FastifyReply, value: T | null) =>
  value ?? sendProblem(request, reply, { code: 'webhook_not_found' })

function answer<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  done: ResultAsync<T, WebhookError>,
) {
  const result = done.mapErr((error) => {
    if (error.type === 'webhook_not_found') return { code: error.type }
    if (error.type === 'url_refused')
      return invalidField('url', `url cannot be used: ${error.message}`)
    request.log.error({ error }, 'the ledger of webhooks could not be written')
    return commandProblem(error)
  })
  return sendResult(request, reply, result)
}
