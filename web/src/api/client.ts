import { type Client, createClient } from '../../../src/client/index.ts'
import { fetchOnce } from './early.ts'

const KEY = 'retrai.token'

const clientFor = (token: string | null): Client =>
  createClient({ baseUrl: location.origin, token: token ?? undefined, fetch: fetchOnce })

let current = clientFor(sessionStorage.getItem(KEY))

/** The server that this page came from. */
export const client = (): Client => current

export const hasToken = (): boolean => sessionStorage.getItem(KEY) !== null

/** Uses the token from now on, while the tab is open. */
export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token)
  current = clientFor(token)
}
