import { type Client, createClient } from '../../../src/client/index.ts'
import { fetchOnce } from './early.ts'

const KEY = 'retrai.token'

const clientFor = (token: string | null): Client =>
  createClient({ baseUrl: location.origin, token: token ?? undefined, fetch: fetchOnce })

let current = clientFor(sessionStorage.getItem(KEY))

/** The server that this page came from. */
export const client = (): Client => current

export const hasToken = (): boolean => sessionStorage.getItem(KEY) !== null

/** Signs out: the token of this tab, and all that the page has read, are gone. */
export function forgetToken(): void {
  sessionStorage.removeItem(KEY)
  location.assign('/')
}

/** Uses the token from now on, while the tab is open. */
export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token)
  current = clientFor(token)
}
