/** A query of what is set. */
export function queryOf(query: Readonly<Record<string, string | number | undefined>>): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value))
  }
  return search.size === 0 ? '' : `?${search}`
}

/** A parameter of the next page in a Link header such as `</api/runs?limit=2&cursor=…>; rel="next"`. */
export function cursorOf(link: string | null, parameter: string): string | null {
  const query = /<[^<>?]*\?([^<>]*)>; *rel="next"/.exec(link ?? '')?.[1]
  return query === undefined ? null : new URLSearchParams(query).get(parameter)
}
