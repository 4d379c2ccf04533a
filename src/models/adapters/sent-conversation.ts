import type { AssistantMessage, ChatMessage, SentImage } from '../../domain/conversation.ts'
import { isObject, type Json } from '../adapter.ts'
import { distinct, FIRST_NUMBER, type JsonObject } from '../replies.ts'
import type { Route } from '../routing.ts'

/** A call as it is sent. `id` is null if its provider gave it none. */
type SentCall = {
  readonly id: string | null
  readonly name: string
  /** A JSON text. */
  readonly args: string
}

/** A message of a conversation in the form that every provider accepts. */
export type SentMessage =
  | { readonly role: 'system'; readonly content: string }
  | { readonly role: 'user'; readonly content: string; readonly images: readonly SentImage[] }
  | {
      readonly role: 'assistant'
      /** Null if it has only calls. */
      readonly text: string | null
      readonly calls: readonly SentCall[]
      /** The items that this very model sent through this API, unchanged; null if it was another one. */
      readonly own: readonly Json[] | null
    }
  | {
      readonly role: 'tool'
      /** The call that this is the result of. */
      readonly call: SentCall
      readonly content: string
      readonly image?: SentImage
    }

type SentOf<R extends SentMessage['role']> = Extract<SentMessage, { role: R }>
export type SentReply = SentOf<'assistant'>

/** How an API writes a conversation. `T` is what it has for a message, or for a part of one. */
export type Forms<T> = {
  /** How it writes the messages of each role. */
  readonly [R in SentMessage['role']]: (message: SentOf<R>) => T | readonly T[]
} & {
  /** Turns the id of a call of another model into one that the API accepts. */
  readonly idOf: (id: string) => string
  /** The call in an item of the provider; null if the item is no call. Left out: its items hold no calls. */
  readonly callIn?: (item: JsonObject) => Omit<SentCall, 'args'> | null
  /** Whether results may hold images. If not, these come after them. */
  readonly takesImages?: boolean
}

/** A conversation in the words of an API. */
export const written = <T>(messages: readonly ChatMessage[], route: Route, forms: Forms<T>): T[] =>
  sentConversation(messages, route, forms).flatMap((message) =>
    (forms[message.role] as (message: SentMessage) => T | readonly T[])(message),
  )

/**
 * A conversation as it is sent. The model of a run may change, and each numbers its calls in its own way: ids and names
 * of the calls of others are converted to a form that the provider accepts, each id once per request.
 */
function sentConversation(
  messages: readonly ChatMessage[],
  route: Route,
  { idOf, callIn, takesImages = false }: Omit<Forms<never>, SentMessage['role']>,
): SentMessage[] {
  const taken = new Map<string, number>()
  /** The calls of the latest reply, by their recorded ids. */
  let calls = new Map<string, SentCall>()
  const toSent = (message: ChatMessage): SentMessage => {
    switch (message.role) {
      case 'system':
        return { role: 'system', content: orNothing(message.content) }
      case 'user':
        return { role: 'user', content: orNothing(message.content), images: message.images ?? [] }
      case 'assistant': {
        const items = ownItems(message, route)
        const found = (items ?? [])
          .filter(isObject)
          .flatMap((item) => (callIn === undefined ? [] : (callIn(item) ?? [])))
        const own = callIn !== undefined && found.length !== message.calls.length ? null : items
        const known = own === null ? [] : found
        for (const { id } of known) if (id !== null && !taken.has(id)) taken.set(id, FIRST_NUMBER)
        const sent = message.calls.map(({ id, tool, args }, at): SentCall => {
          const { name = plain(tool, MAX_NAME), id: given } = known[at] ?? {}
          return { id: given === undefined ? distinct(idOf(id), taken) : given, name, args }
        })
        calls = new Map(message.calls.map(({ id }, at) => [id, sent[at] as SentCall]))
        const text = message.content?.trim() ? message.content : null
        const isEmpty = text === null && sent.length === 0
        return { role: 'assistant', text: isEmpty ? orNothing(null) : text, calls: sent, own }
      }
      case 'tool': {
        const { callId: id, content, ...shown } = message
        const call = calls.get(id) ?? { id, name: 'unknown', args: '' }
        return { ...shown, call, content: orNothing(content) }
      }
    }
  }
  return withAllResults(messages, takesImages).map(toSent)
}

/** The items of a reply, if this very model sent them through this API. */
function ownItems({ items }: AssistantMessage, { endpoint, api, model }: Route) {
  const isOwn = items?.api === api && items.provider === endpoint.name && items.model === model
  return isOwn && items.items.length > 0 ? items.items : null
}

const NO_RESULT = '[unknown] There is no result of this call. It is not known whether it ran.'

type ToolMessage = Extract<ChatMessage, { role: 'tool' }>

/**
 * The same messages, with the results of each reply in the order of its calls, and one for each call that has none: every
 * provider refuses a conversation with an open call. Images that results cannot hold are in a message of the user after
 * them, or in the one that comes there anyway, because some models do not accept two in sequence.
 */
function withAllResults(messages: readonly ChatMessage[], takesImages: boolean): ChatMessage[] {
  const all: ChatMessage[] = []
  /** The calls of the latest reply, with their places. */
  let calls: ReadonlyMap<string, number> = new Map()
  let results: ToolMessage[] = []
  const finish = (next?: ChatMessage): void => {
    const known = new Set(results.map(({ callId }) => callId))
    const missing = [...calls.keys()].filter((id) => !known.has(id))
    results.push(
      ...missing.map((callId) => ({ role: 'tool', callId, content: NO_RESULT }) as const),
    )
    const place = ({ callId }: ToolMessage) => calls.get(callId) ?? -1
    results.sort((a, b) => place(a) - place(b))
    const images = takesImages ? [] : results.flatMap(({ image }) => image ?? [])
    all.push(...(images.length === 0 ? results : results.map(({ image: _, ...rest }) => rest)))
    const isJoined = images.length > 0 && next?.role === 'user'
    if (images.length > 0) {
      const what = `[The image${images.length === 1 ? '' : 's'} of the last results]`
      const content = isJoined && next.content !== '' ? `${what}\n\n${next.content}` : what
      all.push({ role: 'user', content, images })
    }
    if (next !== undefined && !isJoined) all.push(next)
    results = []
  }
  for (const message of messages) {
    if (message.role === 'tool') results.push(message)
    else {
      finish(message)
      const made = message.role === 'assistant' ? message.calls : []
      calls = new Map(made.map(({ id }, at) => [id, at]))
    }
  }
  finish()
  return all
}

/** An image as the address that OpenAI's APIs take. */
export const dataUrl = ({ media_type, data = '' }: SentImage): string =>
  `data:${media_type};base64,${data}`

/** Some providers refuse a message without text. */
export function orNothing(content: string | null): string {
  return content?.trim() ? content : '(nothing)'
}

/** The most characters of an id or a name that every provider accepts. */
const MAX_ID = 50
const MAX_NAME = 64

/** In the letters that every provider accepts. */
const plain = (name: string, length: number): string =>
  name.replaceAll(/[^a-zA-Z0-9_-]/g, '_').slice(0, length)

/** An id in the letters that every provider accepts. */
export const plainId = (id: string): string => plain(id, MAX_ID)

/** The same for calls of other models: no provider gives such an id, so it equals none of the provider's own. */
export const foreignId = (id: string): string => `other_${plainId(id)}`
