import type { ChatMessage } from '../../../domain/conversation.ts'
import type { Json } from '../adapter.ts'
import type { Route } from '../routing.ts'

type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>

/** The items of a reply that this very model sent through this API; null if it was another one. */
export function ownItems(
  { items }: AssistantMessage,
  { endpoint, api, model }: Route,
): readonly Json[] | null {
  if (items === undefined || items.api !== api) return null
  return items.provider === endpoint.provider && items.model === model ? items.items : null
}
