import { useRef } from 'react'

/** A request, with the key by which the server recognizes it. */
export type Attempt<T> = { readonly idempotencyKey: string; readonly body: T }

/** Without TLS, browsers have no randomUUID. */
const newKey = (): string => crypto.getRandomValues(new Uint32Array(4)).join('-')

/**
 * Names what a person sends: the same content has the same key and the same body, also if more was on the screen when it
 * is sent again. So it has its effect once, even if the answer to the first attempt was lost.
 */
export function useAttempt<T>(): (content: string, body: T) => Attempt<T> {
  const last = useRef<{ readonly content: string; readonly attempt: Attempt<T> } | null>(null)
  return (content, body) => {
    if (last.current?.content !== content) {
      last.current = { content, attempt: { idempotencyKey: newKey(), body } }
    }
    return last.current.attempt
  }
}
