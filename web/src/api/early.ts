const KEY = 'retrai.token'

/** The headers of requests that the page makes without the client. */
export function authorization(): Readonly<Record<string, string>> {
  const token = sessionStorage.getItem(KEY)
  return token === null ? {} : { authorization: `Bearer ${token}` }
}

/** What the list asks for first. */
const FIRST =
  location.pathname + location.search === '/' ? ['/api/me', '/api/runs?top=true&limit=100'] : []

/** Requested while the other scripts of the page are on their way: a slow network then needs no time for them. */
const answers = new Map(
  FIRST.map((path) => {
    const answer = fetch(path, { headers: authorization() })
    // Whoever takes it learns of a failure.
    answer.catch(() => {})
    return [`${location.origin}${path}`, answer]
  }),
)

/** As `fetch`, but the first time, it takes what was requested early. */
export const fetchOnce: typeof fetch = (input, init) => {
  const url = String(input)
  const early = answers.get(url)
  answers.delete(url)
  return early ?? fetch(input, init)
}
