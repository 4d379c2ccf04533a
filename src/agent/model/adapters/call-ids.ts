import type { AssistantMessage } from '../../../domain/conversation.ts'
import { isObject, type Json } from '../adapter.ts'
import { distinct, FIRST_NUMBER } from '../reply-parts.ts'
import { providerName, type Route } from '../routing.ts'

type Calls = AssistantMessage['calls']

/** The most characters of an id or a name that every provider accepts. */
const MAX_ID = 50
const MAX_NAME = 64

const plain = (name: string): string => name.replaceAll(/[^a-zA-Z0-9_-]/g, '_')

/** An id in the letters that every provider accepts. */
export const plainId = (id: string): string => plain(id).slice(0, MAX_ID)

/** The same for calls of other models: no provider gives such an id, so it equals none of the provider's own. */
export const foreignId = (id: string): string => `other_${plainId(id)}`

/** A tool's name in the letters that every provider accepts. */
export const plainName = (name: string): string => plain(name).slice(0, MAX_NAME)

/**
 * The ids of calls as they are sent. Models change within a run, and each numbers its calls in its own way, so an id is
 * converted to a form that the provider accepts, and is given once per request.
 */
export class CallIds {
  readonly #taken = new Map<string, number>()
  readonly #convert: (id: string) => string
  /** The ids of the latest turn: as recorded → as sent. */
  #sent: ReadonlyMap<string, string> = new Map()

  constructor(convert: (id: string) => string) {
    this.#convert = convert
  }

  /** Begins a turn. @param own the ids in the items of the provider, which stay as they are */
  next(calls: Calls, own: readonly string[] = []): void {
    for (const id of own) if (!this.#taken.has(id)) this.#taken.set(id, FIRST_NUMBER)
    this.#sent = new Map(
      calls.map(({ id }, index) => [id, own[index] ?? distinct(this.#convert(id), this.#taken)]),
    )
  }

  /** The id of a call of this turn. */
  of(id: string): string {
    return this.#sent.get(id) ?? id
  }
}

/** The ids of the calls among the items of a reply: such `items` have this type, and their id in this field. */
export const idsIn = (items: readonly Json[], type: string, field: string): string[] =>
  items.flatMap((item) => {
    const id = isObject(item) && item.type === type ? item[field] : undefined
    return typeof id === 'string' ? [id] : []
  })

/** The items of a reply that this very model sent through this API; null if it was another one. */
export function ownItems(
  { items }: AssistantMessage,
  { endpoint, api, model }: Route,
): readonly Json[] | null {
  if (items === undefined || items.api !== api) return null
  return items.provider === providerName(endpoint) && items.model === model ? items.items : null
}
