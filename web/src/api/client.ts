import { type Client, createClient } from '../../../src/client/index.ts'

const KEY = 'retrai.token'

const clientFor = (token: string | null): Client =>
  createClient({ baseUrl: location.origin, token: token ?? undefined })

let current = clientFor(sessionStorage.getItem(KEY))

/** The server that this page came from. */
export const client = (): Client => current

export const hasToken = (): boolean => sessionStorage.getItem(KEY) !== null

/** The headers of requests that the page makes without the client. */
export function authorization(): Readonly<Record<string, string>> {
  const token = sessionStorage.getItem(KEY)
  return token === null ? {} : { authorization: `Bearer ${token}` }
}

/** Uses the token from now on, while the tab is open. */
export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token)
  current = clientFor(token)
}
