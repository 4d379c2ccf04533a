import * as z from 'zod'
import {
  type CreateWebhook,
  DeliveryView,
  NewWebhookView,
  TestedWebhook,
  WebhookView,
} from '../api/webhooks.ts'
import type { Answered, Rest, Signal } from './call.ts'

const path = (id: string, what = ''): string => `/api/webhooks/${encodeURIComponent(id)}${what}`

/** The calls of /api/webhooks, for admins. */
export interface Webhooks extends ReturnType<typeof createWebhooks> {}

export const createWebhooks = ({ get, send }: Rest) => ({
  /** Oldest first. */
  list: (options?: Signal): Answered<readonly WebhookView[]> =>
    get('/api/webhooks', z.array(WebhookView), options),
  get: (id: string, options?: Signal): Answered<WebhookView> => get(path(id), WebhookView, options),
  /** The secret is only in this answer. */
  create: (wanted: CreateWebhook, options?: Signal): Answered<NewWebhookView> =>
    send('POST', '/api/webhooks', wanted, NewWebhookView, options),
  delete: (id: string, options?: Signal): Answered<WebhookView> =>
    send('DELETE', path(id), undefined, WebhookView, options),
  resume: (id: string, options?: Signal): Answered<WebhookView> =>
    send('POST', path(id, '/resume'), undefined, WebhookView, options),
  test: (id: string, options?: Signal): Answered<TestedWebhook> =>
    send('POST', path(id, '/test'), undefined, TestedWebhook, options),
  /** The last tries, newest first. */
  deliveries: (id: string, options?: Signal): Answered<readonly DeliveryView[]> =>
    get(path(id, '/deliveries'), z.array(DeliveryView), options),
})
